"""`caffepy explore`: what it serves, where, and what it refuses to serve."""

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from caffepy.cli import main
from tests.explore.nets import branches, saved

pytest.importorskip("starlette", reason="caffepy explore takes caffepy[web]")
pytest.importorskip("uvicorn", reason="caffepy explore takes caffepy[web]")


def serving(*arguments: str) -> tuple[subprocess.Popen[str], str, str]:
    """The process, its net's name and its address."""
    command = [sys.executable, "-m", "caffepy", "explore", "--no-browser", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"(.*): (http://\S+) \(Ctrl-C ends it\)\n", line)
    assert found, line
    return process, found[1], found[2]


def ended(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    return process.returncode


def test_the_embedded_model_is_served_until_ctrl_c() -> None:
    process, name, address = serving()
    try:
        assert name.startswith("Fashion-MNIST")
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as page:
            assert b"<title>caffepy explore</title>" in page.read()
    finally:
        ended(process)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address)


def test_elsewhere_takes_a_token(tmp_path: Path) -> None:
    model, weights = saved(tmp_path, branches(1))
    process, _, address = serving(str(model), str(weights), "--host", "0.0.0.0")
    try:
        here = address.replace("0.0.0.0", "127.0.0.1")
        bare, _, token = here.partition("?token=")
        assert len(token) > 20
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(bare)
        with urllib.request.urlopen(here) as page:
            assert page.status == 200
    finally:
        ended(process)


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = CliRunner().invoke(main, ["explore", "--no-browser", "--port", str(taken.getsockname()[1])])
    assert result.exit_code == 1
    assert "choose another --host or --port" in result.stderr


def test_weights_are_asked_for(tmp_path: Path) -> None:
    model, _ = saved(tmp_path, branches(1))
    result = CliRunner().invoke(main, ["explore", str(model)])
    assert result.exit_code == 2
    assert "--random-weights" in result.stderr


def test_a_python_layer_is_not_run_unasked(tmp_path: Path) -> None:
    model = tmp_path / "python.prototxt"
    model.write_text('layer { name: "p" type: "Python" top: "p" python_param { module: "antigravity" layer: "L" } }')
    result = CliRunner().invoke(main, ["explore", str(model), "--random-weights"])
    assert result.exit_code == 1
    assert "antigravity" in result.stderr


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "caffepy.explore.app", raising=False)
    result = CliRunner().invoke(main, ["explore"])
    assert result.exit_code == 1
    assert "pip install caffepy[web]" in result.stderr
