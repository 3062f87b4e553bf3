"""`caffepy info`: the table, as text and as JSON."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from caffepy.cli import main
from caffepy.layer import Layer
from tests.cli import models

PYTHON_LAYER = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "own" type: "Python" bottom: "x" top: "y" python_param { module: "no_such_module" layer: "Own" } }
"""


def test_the_table_and_its_totals(tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    result = CliRunner().invoke(main, ["info", paths["model"], paths["weights"]])
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("net 'small', TEST: 5 layers")
    assert lines[3].split()[:4] == ["conv", "Convolution", "4x6x10x8", "168"]
    assert lines[-3].split()[:5] == ["total", "parameters", "0.01", "MB", "3,535"]


def test_json_at_another_batch(tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    result = CliRunner().invoke(main, ["info", paths["model"], "--batch", "2", "--json"])
    found = json.loads(result.stdout)
    conv = found["rows"][1]
    assert conv["tops"] == {"conv": [2, 6, 10, 8]}
    assert conv["macs"] == 2 * 6 * 10 * 8 * 3 * 9
    assert conv["field"] == [{"size": 3, "stride": 1, "offset": 1}] * 2
    assert found["totals"]["parameters"] == 3535
    assert found["memory"]["data"] == found["totals"]["bytes"] >= found["memory"]["data_inference"]
    assert found["memory"]["forward"] > found["memory"]["data"] + 4 * found["totals"]["parameters"]
    memory = found["memory"]
    assert memory["forward"] - memory["forward_inference"] == memory["data"] - memory["data_inference"]
    assert found["work"] >= found["totals"]["macs"]
    assert found["memory"]["diffs"] >= found["memory"]["diffs_gradient"] > 0


def test_no_weight_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = models.write(tmp_path)
    monkeypatch.setattr(Layer, "fill", lambda self, index: pytest.fail("a weight was filled"))
    assert CliRunner().invoke(main, ["info", paths["model"]]).exit_code == 0


def test_layers_without_weights_are_named(tmp_path: Path) -> None:
    paths = models.write(tmp_path)
    text = Path(paths["model"]).read_text()
    Path(paths["model"]).write_text(text.replace('name: "fc"', 'name: "fc_new"'))
    result = CliRunner().invoke(main, ["info", paths["model"], paths["weights"]])
    assert result.exit_code == 0
    assert "no weights for layers: fc_new" in result.stderr


def test_a_python_layer_runs_only_if_its_module_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(PYTHON_LAYER)
    refused = CliRunner().invoke(main, ["info", str(path)])
    assert refused.exit_code == 1
    assert "layer 'own' (Python): would import the module 'no_such_module'" in refused.stderr
    assert "--allow no_such_module" in refused.stderr
    for allowed in ("no_such_module", "all"):
        tried = CliRunner().invoke(main, ["info", str(path), "--allow", allowed])
        assert "cannot be imported" in tried.stderr


def test_batch_without_inputs(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text('layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 2 } } }')
    result = CliRunner().invoke(main, ["info", str(path), "--batch", "2"])
    assert result.exit_code == 1
    assert "no inputs to reshape" in result.stderr
