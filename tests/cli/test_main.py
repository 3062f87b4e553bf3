"""The program: version, help, errors and exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import caffepy
from caffepy.cli import main
from caffepy.errors import MissingFileError
from tests.cli import models
from tests.shared import ROOT


def test_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.output == f"caffepy, version {caffepy.__version__}\n"


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(main, ["-h"])
    assert result.exit_code == 0
    assert "saliency" in result.output
    assert "demo" in result.output


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["salience"]).exit_code == 2


def test_an_error_is_one_message_on_stderr(tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    result = CliRunner().invoke(main, ["saliency", paths["model"], "none.caffemodel", paths["image"]])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "none.caffemodel" in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_lets_the_error_through(tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    result = CliRunner().invoke(main, ["saliency", paths["model"], "none.caffemodel", paths["image"], "--debug"])
    assert result.exit_code == 1
    assert isinstance(result.exception, MissingFileError)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "caffepy", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_as_a_program(tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    files = [paths["weights"], paths["image"], "-o", str(tmp_path / "out.png")]
    done = run("saliency", paths["model"], *files)
    assert (done.returncode, done.stderr) == (0, "")
    assert "target" in done.stdout
    assert (tmp_path / "out.png").is_file()
    failed = run("saliency", "no.prototxt", *files)
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: ")
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("line", ["train -solver s.prototxt", "test --model=x", "device-query -gpu 0", "time -model x"])
def test_flags_in_caffes_spelling_are_told_where_to_go(line: str) -> None:
    refused = CliRunner().invoke(main, line.split())
    assert refused.exit_code == 2
    command = line.split()[0].replace("-", "_")
    assert f"Flags in Caffe's spelling go to the program caffe: caffe {command} ..." in refused.output
    assert "Caffe's spelling" not in CliRunner().invoke(main, [line.split()[0], "--nothing"]).output
