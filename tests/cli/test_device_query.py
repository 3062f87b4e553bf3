"""`caffepy device-query`: GPUs, and why not."""

import importlib
import json

import pytest
from click.testing import CliRunner

from caffepy import device
from caffepy.cli import main
from caffepy.device import engine
from caffepy.device.cuda import why_not
from caffepy.device.threads import threads
from caffepy.errors import DeviceError


def refused(index: int) -> device.Gpu:
    raise DeviceError(f"GPU mode: GPU {index} cannot be used: it is a teapot")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "gpu", refused)
    monkeypatch.setattr(importlib.import_module("caffepy.cli.gpus"), "count", lambda: 0)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("name", ["device-query", "device_query"])
def test_without_a_gpu_it_says_why(name: str) -> None:
    result = CliRunner().invoke(main, [name])
    assert (result.exit_code, result.stderr) == (0, "")
    first, _, cpu = result.stdout.splitlines()
    assert first == "no GPU: it is a teapot; nets run on the CPU"
    assert cpu.split(None, 1) == ["CPU", f"{engine.cpu_engine_reason()}, {threads()} thread(s)"]
    found = json.loads(CliRunner().invoke(main, [name, "--json"]).stdout)
    assert (found["gpus"], found["why_none"]) == ([], "it is a teapot")
    assert found["cpu"]["engine"] == engine.cpu_engine()


@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_that_was_asked_for_must_be_there() -> None:
    result = CliRunner().invoke(main, ["device-query", "--gpu", "0,2"])
    assert result.exit_code == 1
    assert "GPU 0 cannot be used: it is a teapot" in result.stdout
    assert "GPU 2 cannot be used: it is a teapot" in result.stdout
    assert "give numbers such as 0" in CliRunner().invoke(main, ["device-query", "--gpu", "first"]).stderr


def test_here() -> None:
    result = CliRunner().invoke(main, ["device-query"])
    assert result.exit_code == 0
    reason = why_not(0)
    assert result.stdout.startswith(f"no GPU: {reason}" if reason else "GPU 0 ")
