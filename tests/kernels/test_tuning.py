"""Measured choices: found by time, kept on disk, used for the same GPU, source and problem and for nothing else."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffepy import device
from caffepy.device import source
from caffepy.kernels import precision, tuning
from caffepy.layers.basis import gemm_plan
from caffepy.layers.common.inner_product import inner_product_backward_weights, inner_product_forward
from caffepy.layers.vision.convolution import convolution_backward
from caffepy.layers.vision.window import Window
from tests.gpu_mode import downloaded, running
from tests.kernels.recording import Ghost, Recorder


class Timed(Recorder):
    """A Recorder on which what `fast` finds in a launch's constants takes 1 ms, and everything else 2."""

    def __init__(self, fast: str, title: str = "NVIDIA H200"):
        super().__init__(90)
        self.fast, self.title, self.timed = fast, title, 0

    def capture(self, body: Callable[[], None]) -> Any:
        self.launches.clear()
        return super().capture(body)

    def elapsed(self, body: Callable[[], None]) -> float:
        self.timed += 1
        return 1.0 if any(re.search(self.fast, launch.source, re.DOTALL) for launch in self.launches) else 2.0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("CAFFEPY_CACHE", str(tmp_path))
    tuning.reload()
    yield tmp_path
    device.use(None)
    tuning.reload()


def use(gpu: Any) -> Any:
    device.use(gpu)
    device.set_mode_gpu()
    return gpu


def product(outputs: int = 1000) -> tuple[Any, ...]:
    """Arguments of inner_product_forward."""
    shapes = (64, 4096), (outputs, 4096), (outputs,), (1 << 22,), (64, outputs)
    return tuple(Ghost(shape, np.float32) for shape in shapes)


def tile(outputs: int = 1000) -> tuple[int, int]:
    """That of the launch that inner_product_forward makes now."""
    constants = inner_product_forward.launches(*product(outputs), transpose=False)[0].constants
    return int(constants["tile_m"]), int(constants["tile_n"])


SMALL = "tile_m = 32;.*tile_n = 32;"


def measure() -> list[tuning.Measured]:
    with tuning.measuring() as measured:
        inner_product_forward(*product(), transpose=False)
    return measured


def test_the_fastest_is_found_and_used_for_this_problem_only() -> None:
    gpu = use(Timed(SMALL))
    by_formula, of_another = tile(), tile(outputs=1004)
    assert by_formula != (32, 32) != of_another
    (measured,) = measure()
    assert measured.file == "inner_product_forward.cu"
    assert measured.winner.startswith("way 0: 32x32x16 by 4x4, ")
    assert (measured.milliseconds, measured.by_formula) == (1 / tuning.REPEATS, 2 / tuning.REPEATS)
    assert (tile(), tile(outputs=1004)) == ((32, 32), of_another)
    timed = gpu.timed
    assert measure() == []  # it is known
    assert gpu.timed == timed


def test_between_equals_the_formulas_choice_wins() -> None:
    use(Timed("tile_k"))
    by_formula = tile()
    measure()
    assert tile() == by_formula


def test_winners_outlive_the_process() -> None:
    use(Timed(SMALL))
    measure()
    tuning.reload()
    assert tile() == (32, 32)


def test_another_gpu_starts_anew_and_leaves_the_first_ones_winners() -> None:
    use(Timed(SMALL))
    by_formula = tile()
    measure()
    use(Timed("tile_m = 64;.*tile_n = 32;", title="NVIDIA L40S"))
    assert tile() == by_formula
    measure()
    assert tile() == (64, 32)
    use(Timed(SMALL))
    assert tile() == (32, 32)


def test_another_precision_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    use(Timed(SMALL))
    measure()
    monkeypatch.setattr(precision, "_asked", "tf32")
    assert tile() != (32, 32)


def test_another_source_starts_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(Timed(SMALL))
    by_formula = tile()
    measure()
    text = source.text
    monkeypatch.setattr(source, "text", lambda file: text(file) + "// another\n")
    assert tile() == by_formula
    use(Timed("tile_m = 64;.*tile_n = 32;"))
    measure()
    assert tile() == (64, 32)
    (files,) = json.loads((folder / "tuning.json").read_text()).values()
    assert len(files["inner_product_forward.cu"]["winners"]) == 1  # nobody can use the old one


def test_what_other_processes_found_meanwhile_is_kept(folder: Path) -> None:
    use(Timed(SMALL))
    tile()
    others = {"another GPU": {"k.cu": {"source": "0", "winners": {"problem": "name"}}}}
    (folder / "tuning.json").write_text(json.dumps(others))
    measure()
    found = json.loads((folder / "tuning.json").read_text())
    assert found["another GPU"] == others["another GPU"]
    assert len(found) == 2
    assert [file.name for file in folder.iterdir()] == ["tuning.json"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"a": 3}', '{"a": {"f": {"source": "0"}}}', '{"a": {"f": {"source": 0, "winners": 1}}}'],
)
def test_a_damaged_file_is_told_of_and_written_anew(text: str, folder: Path) -> None:
    (folder / "tuning.json").write_text(text)
    use(Timed(SMALL))
    with pytest.warns(tuning.TuningWarning, match=r"tuning.json holds no measured choices that can be read"):
        assert tile() != (32, 32)
    measure()
    tuning.reload()
    assert tile() == (32, 32)


def test_a_winner_that_is_no_candidate_any_more_is_passed_over(folder: Path) -> None:
    use(Timed(SMALL))
    by_formula = tile()
    measure()
    file = folder / "tuning.json"
    file.write_text(file.read_text().replace("way 0: 32x32", "way 0: 31x31"))
    tuning.reload()
    assert tile() == by_formula


def test_where_nothing_can_be_written_this_process_knows_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("CAFFEPY_CACHE", str(folder / "file"))
    use(Timed(SMALL))
    with pytest.warns(tuning.TuningWarning) as told:
        measure()
    assert "Set CAFFEPY_CACHE to a folder that can be written" in str(told[-1].message)
    assert tile() == (32, 32)


def test_ways_are_measured_against_each_other() -> None:
    """Few channels and a stride: all phases together or each a product."""
    window = Window((11, 11), (4, 4), (0, 0), (1, 1))
    shapes = (1, 96, 55, 55), (96, 3, 11, 11), (1 << 22,), (1, 3, 227, 227)
    arguments = tuple(Ghost(shape, np.float32) for shape in shapes)

    def by_phase() -> Any:
        return convolution_backward.launches(*arguments, window=window, group=1)[0].constants["by_phase"]

    by_formula = by_phase()
    use(Timed(f"by_phase = {str(not by_formula).lower()};"))
    with tuning.measuring() as (measured):
        convolution_backward(*arguments, window=window, group=1)
    assert len(measured) == 1
    assert by_phase() is not by_formula


def test_the_cpu_measures_nothing() -> None:
    with tuning.measuring() as measured:
        inner_product_forward(
            np.ones((9, 4), np.float32), np.ones((3, 4), np.float32), None, None, np.ones((9, 3), np.float32),
            transpose=False,
        )  # fmt: skip
    assert measured == []


def test_measuring_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each candidate runs many times, and weight diffs add up; only one run may be seen."""
    monkeypatch.setattr(gemm_plan, "tiles", lambda *vectors: (gemm_plan.MIDDLE, gemm_plan.SMALL))
    rng = np.random.default_rng(0)
    bottom, top = (rng.standard_normal((20, n)).astype(np.float32) for n in (12, 36))
    with running("gpu-ascending") as gpu, tuning.measuring() as measured:
        assert gpu is not None
        arrays = [gpu.zeros(a.size, a.dtype).reshape(a.shape) for a in (bottom, top, np.zeros((36, 12), np.float32))]
        for host, array in zip((bottom, top), arrays, strict=False):
            gpu.upload(host, array)
        inner_product_backward_weights(arrays[0], arrays[1], None, arrays[2], transpose=False)
        found = downloaded(arrays[2])
    assert len(measured) == 1
    np.testing.assert_allclose(found, top.T @ bottom, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "{}/caffepy"),
        ("win32", "LOCALAPPDATA", "{}/caffepy"),
        ("linux", "HOME", "{}/.cache/caffepy"),
        ("darwin", "HOME", "{}/Library/Caches/caffepy"),
    ],
)
def test_the_folder(
    platform: str, variable: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tuning.cache_folder() == tmp_path
    for name in ("CAFFEPY_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert tuning.cache_folder() == Path(expected.format(tmp_path))
