"""`caffepy warm-up`: afterwards nothing is left to compile."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import caffepy as caffe
from caffepy import device
from caffepy.cli import main
from caffepy.device.cuda import why_not
from tests.cli import models
from tests.cuda_on_cpu import EmulatedCuda, unavailable
from tests.nets import noise


def test_passes_compile_nothing_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := unavailable():
        pytest.skip(reason)
    paths = models.write(tmp_path)
    emulated = EmulatedCuda()
    device.use(emulated)
    try:
        result = CliRunner().invoke(main, ["warm-up", paths["model"], "--batch", "2", "--batch", "1"])
        assert (result.exit_code, result.stderr) == (0, "")
        lines = result.stdout.splitlines()
        assert [line.partition(":")[0] for line in lines] == ["data (2, 3, 12, 10)", "data (1, 3, 12, 10)"]
        assert all("ready after" in line and line.endswith("on emulated") for line in lines)

        monkeypatch.setattr(emulated, "compile", lambda *_: pytest.fail("something had to be compiled"))
        net = caffe.Net(paths["model"], caffe.TEST, device=0)
        net.blobs["data"].reshape(2, 3, 12, 10)
        net.forward(data=noise(2, 3, 12, 10))
        net.gradient({"prob": 1})
    finally:
        device.use()


def test_without_a_gpu_it_says_why(tmp_path: Path) -> None:
    reason = why_not(0)
    if reason is None:
        pytest.skip("this machine has a GPU")
    result = CliRunner().invoke(main, ["warm-up", models.write(tmp_path)["model"]])
    assert result.exit_code == 1
    assert f"GPU 0 cannot be used: {reason}" in result.stderr
