"""`caffepy draw`."""

from pathlib import Path

from click.testing import CliRunner

from caffepy.cli import main
from tests.cli import models


def test_an_svg_names_the_layers_of_the_phase(tmp_path: Path) -> None:
    model = models.write(tmp_path)["model"]
    with open(model, "a") as file:
        file.write('layer { name: "only" type: "TanH" bottom: "fc" top: "only" include { phase: TRAIN } }')
    out = tmp_path / "net.svg"
    result = CliRunner().invoke(main, ["draw", model, str(out), "--rankdir", "TB"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Convolution" in out.read_text()
    assert "only" in out.read_text()
    assert CliRunner().invoke(main, ["draw", model, str(out), "--phase", "TEST"]).exit_code == 0
    assert "only" not in out.read_text()


def test_a_name_without_an_ending(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["draw", models.write(tmp_path)["model"], str(tmp_path / "net")])
    assert result.exit_code == 1
    assert "has no extension" in result.stderr
