"""The program `caffe`: the original's spelling, on the same subcommands."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import caffepy
from caffepy.cli import caffe
from tests.cli import models
from tests.cli.test_info import PYTHON_LAYER
from tests.cli.test_test import written

FLAGS = "time -model m.prototxt -weights w.caffemodel -gpu 1 -iterations 7 -phase TEST -level 2 -stage a,b"
TRANSLATED = [
    *["time", "--allow", "/", "--iterations", "7", "--level", "2", "--phase", "test", "--stage", "a"],
    *["--stage", "b", "--gpu", "1", "--", "m.prototxt", "w.caffemodel"],
]


@pytest.mark.parametrize(
    "line",
    [
        FLAGS,
        FLAGS.replace(" -", " --"),
        "-gpu=1 time --model=m.prototxt -weights=w.caffemodel --iterations 7 --phase=TEST -level=2 --stage=a,b",
        FLAGS + " -logtostderr -v 1 --minloglevel=2 -noalsologtostderr",
        FLAGS.replace("-gpu 1", "-gpu 1,3"),
    ],
)
def test_every_spelling_of_gflags(line: str) -> None:
    assert caffe._translated(line.split()) == TRANSLATED


def test_defaults_are_the_originals() -> None:
    def phase(command: str) -> str:
        words = caffe._translated([command, "-model", "m.caffemodel"])
        return words[words.index("--phase") + 1]

    assert (phase("test"), phase("time")) == ("test", "train")
    assert caffe._translated(["device_query"]) == ["device-query", "--gpu", "all"]
    assert caffe._translated(["device_query", "-gpu", "0,1"]) == ["device-query", "--gpu", "0,1"]
    assert "--gpu" not in caffe._translated(["time", "-model", "m"])
    assert caffe._translated(["time", "-model", "m", "-gpu", "all"])[-4:] == ["--gpu", "0", "--", "m"]


def run(*arguments: str) -> Result:
    """The whole program, its output caught as click's are."""
    import click

    command = click.Command("caffe", callback=lambda: caffe.main(list(arguments)))
    return CliRunner().invoke(command, [])


def test_test_and_time_run(tmp_path: Path) -> None:
    model, weights = written(tmp_path)
    tested = run("test", "-model", model, "-weights", weights, "-iterations=2")
    assert tested.exit_code == 0
    assert "Batch 1, accuracy = " in tested.stdout
    timed = run("time", "--model=" + models.write(tmp_path)["model"], "-iterations", "1", "-phase", "TEST")
    assert timed.exit_code == 0
    assert "total" in timed.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train -solver s.prototxt", "s.prototxt: cannot be opened"),
        ("train", "caffe train: -solver is missing"),
        ("time", "caffe time: -model is missing"),
        ("test -model m.prototxt", "caffe test: -weights is missing"),
        ("timee -model m", "caffe has no command 'timee'"),
        ("time -modle m", "caffe has no flag '-modle'; there are -allow"),
        ("time -model", "flag '-model' needs a value"),
        ("time test -model m", "one command, got 'time' and 'test'"),
        ("time -model none.prototxt", "none.prototxt: cannot be opened"),
    ],
)
def test_what_is_wrong_is_one_message(line: str, message: str) -> None:
    result = run(*line.split())
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr


def test_train_fails_with_1() -> None:
    assert run("train", "-solver", "s.prototxt").exit_code == 1


def test_python_layers_run_if_they_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(PYTHON_LAYER)
    assert "would import the module" in run("time", "-model", str(path)).stderr
    for allowed in ("all", "no_such_module", "other,no_such_module"):
        assert "cannot be imported" in run("time", "-model", str(path), "-allow", allowed).stderr


def test_help_and_version() -> None:
    for arguments in ([], ["-help"], ["time", "--help"]):
        result = run(*arguments)
        assert result.exit_code == 0
        assert result.stdout.startswith("usage: caffe <command> <flags>")
    assert caffepy.__version__ in run("-version").stdout
