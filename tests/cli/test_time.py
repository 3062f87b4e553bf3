"""`caffepy time`: a table of milliseconds and shares."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from caffepy.cli import main
from tests.cli import models
from tests.gpu_mode import running


def test_every_layer_has_its_share(tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    result = CliRunner().invoke(main, ["time", paths["model"], paths["weights"], "--iterations", "2"])
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("CPU: ")
    assert lines[0].endswith("; 2 runs of each layer; inputs data 4x3x12x10")
    assert lines[1].split() == ["layer", "type", "forward", "ms", "share", "backward", "ms", "share"]
    rows = {line.split()[0]: line.split() for line in lines[2:8]}
    assert list(rows) == ["data", "conv", "relu", "fc", "prob", "total"]
    assert len(rows["data"]) == 4  # nothing goes back through it
    shares = [float(cell[:-1]) for name, row in rows.items() if name != "total" for cell in row if cell.endswith("%")]
    assert sum(shares) == pytest.approx(100, abs=0.6)
    assert {line.index(".") for line in lines[3:8]} == {lines[3].index(".")}


def test_json(tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    result = CliRunner().invoke(main, ["time", paths["model"], "--iterations", "2", "--json"])
    found = json.loads(result.stdout)
    assert found["inputs"] == {"data": [4, 3, 12, 10]}
    assert [layer["type"] for layer in found["layers"]] == ["Input", "Convolution", "ReLU", "InnerProduct", "Softmax"]
    assert found["total"]["forward_ms"] == pytest.approx(sum(layer["forward_ms"] for layer in found["layers"]))


def test_on_a_gpu(tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    with running("gpu-ascending") as gpu:
        result = CliRunner().invoke(main, ["time", paths["model"], "--iterations", "2", "--gpu", "0"])
        assert result.exit_code == 0
        assert result.stdout.startswith(f"{gpu.title}; 2 runs")


def test_layers_that_read_files(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "records" type: "Data" top: "data" data_param { source: "nosuch" batch_size: 2 backend: LMDB } }'
    )
    refused = CliRunner().invoke(main, ["time", str(path)])
    assert "layer 'records' (Data): would open the file 'nosuch'" in refused.stderr
    assert "--allow ./nosuch" in refused.stderr
    result = CliRunner().invoke(main, ["time", str(path), "--allow", "./nosuch"])
    assert result.exit_code == 1
    assert "layer 'records' (Data): LMDB 'nosuch' cannot be opened: there is no such folder" in result.stderr
