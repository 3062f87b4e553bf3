"""Tables, plots and comparisons of results."""

import json
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.__main__ import main
from benchmarks.report import TABLES
from tests.shared import ROOT


def figures(median: float, ratio: float | None = None) -> dict:
    found: dict = {"median": median, "minimum": median, "quartiles": [median, median]}
    return found | ({"ratio": {"median": ratio, "minimum": ratio}} if ratio else {})


def result(ours: float = 10.0) -> dict:
    """Of every suite the least that its table needs."""
    head = {"date": "2026-01-02", "threads": 2, "notes": ["the machine was not quiet"]}
    head["machine"] = {"processor": "a processor", "python": "3.12.0", "caffepy": "0.1.0", "torch": "2.9"}
    nets = [
        {
            "net": "small",
            "batch": 1,
            "way": way,
            "engines": {"caffepy": figures(ours), "torch": figures(20.0, ours / 20)},
        }
        for way in ("forward", "gradient")
    ]
    layer = {
        "layer": "conv",
        "type": "Convolution",
        "net": "small",
        "batch": 1,
        "flops": [4e9, 4e9],
        "bytes": [1e6, 1e6],
    }
    layer["ms"] = {"caffepy": [50.0, 50.0], "torch": [100.0, 300.0]}
    ceilings = {"GFLOP/s": 100.0, "GB/s": 10.0, "GB/s in cache": 50.0}
    of_memory = {"net": "small", "batch": 1, "size": None, "way": "forward", "engine": "caffepy"}
    of_memory |= {"MB": {"before": 50.0, "made": 60.0, "peak": 90.0}, "ms": figures(3.0)}
    saliency = {"method": "gradient", "caffepy": {"images_per_second": 2.0, "peak_mb": 10.0}}
    saliency["captum"] = {"images_per_second": 1.0, "peak_mb": 20.0, "time_ratio": 0.5, "memory_ratio": 0.51}
    start = {"import, ms of the processor": {"caffepy": figures(100.0)}}
    start["CaffeNet from disk"] = {"read": figures(40.0), "ratio": 1.25}
    slow = {"alone": figures(10.0), "beside": figures(30.0), "slowdown": 3.0}
    results = {
        "nets": nets,
        "layers": {"ceilings": ceilings, "layers": [layer]},
        "memory": {"nets": [of_memory], "scaling": [of_memory, of_memory | {"size": 64}]},
        "saliency": [saliency],
        "start": start,
        "train": [{"net": "lenet", "batch": 64, "step": {"caffepy": figures(5.0), "torch": figures(10.0, 0.5)}}],
        "shared-machine": [{"net": "small", "caffepy": slow, "torch": slow, "ratio of slowdowns": 1.0}],
        "load": {"file MB": 243.9},
    }
    return {name: head | {"result": found} for name, found in results.items()}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "a.json", tmp_path / "b.json"
    for path, ours in zip(paths, (10.0, 5.0), strict=True):
        path.write_text(json.dumps(result(ours)))
    return paths


def test_tables_go_between_their_marks(files: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    docs = tmp_path / "performance.md"
    docs.write_text("before\n" + "".join(f"<!-- {name} -->old<!-- end -->\nbetween\n" for name in result()) + "after\n")
    assert main(["report", str(files[0]), "--docs", str(docs)]) == 0
    text = docs.read_text()
    assert "old" not in text
    assert text.count("between") == len(result())
    assert (text.startswith("before"), text.endswith("after\n")) == (True, True)
    for row in (
        "| small | 1 | 10.0 | 20.0 (0.50) |",
        "| geometric mean |  |  | 0.50 |",
        "| Convolution | 1 | 50.0 + 50.0 | 100.0 + 300.0 | 0.25 | 80% | products |",
        "| small | 1 | forward | 40 |",
        "| gradient | 2.00 | 10 | captum | 0.50 | 0.51 |",
        "| small | 10.0 → 30.0 (3.0 times) | 10.0 → 30.0 (3.0 times) | 1.0 |",
        "| lenet | 64 | 5.0 | 10.0 (0.50) |",
        "| `import caffepy`, of the processor | 100 | 100 |",
    ):
        assert row in text
    assert "caffepy 0.1.0, PyTorch eager 2.9. The machine was not quiet." in text
    for name in ("nets", "roofline", "scaling"):
        assert (tmp_path / "performance" / f"{name}.png").stat().st_size > 1000
    again = text
    main(["report", str(files[0]), "--docs", str(docs)])
    assert docs.read_text() == again


def test_the_guide_has_a_place_for_every_table() -> None:
    text = (ROOT / "docs" / "performance.md").read_text("utf-8")
    for name in TABLES:
        assert text.count(f"<!-- {name} -->") == 1, name
    assert text.count("<!-- end -->") == len(TABLES)


def test_a_document_without_marks_is_left_alone(files: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    docs = tmp_path / "performance.md"
    docs.write_text("nothing\n")
    with pytest.raises(SystemExit, match="no place for the table: <!-- nets -->"):
        main(["report", str(files[0]), "--docs", str(docs)])
    assert docs.read_text() == "nothing\n"


def test_two_results_are_compared(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *map(str, files)]) == 0
    lines = capsys.readouterr().out.splitlines()
    changed = [line.split() for line in lines if line.split()[-1] == "0.50"]
    assert [
        "nets",
        "result",
        "small",
        "1",
        "forward",
        "engines",
        "caffepy",
        "10.000",
        "->",
        "5.000",
        "ms",
        "0.50",
    ] in changed
    assert len(changed) == 2
    assert any("layers result layers small conv 1 ms torch" in line and "400.000 ->" in line for line in lines)


def test_other_machines_and_missing_suites_are_named(tmp_path: Path) -> None:
    one, other = result(), result()
    del other["nets"]
    other["layers"]["machine"] = {"processor": "another"}
    paths = tmp_path / "a.json", tmp_path / "b.json"
    for path, found in zip(paths, (one, other), strict=True):
        path.write_text(json.dumps(found))
    lines = compare.report(*paths).splitlines()
    assert lines[0].startswith("not of the same machine")
    assert lines[-1] == f"4 times are in {paths[0]} only"
