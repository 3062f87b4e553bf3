"""Runs of real Caffe's solvers, repeated in CPU mode and on the emulated GPU; its snapshots, resumed."""

from pathlib import Path

import numpy as np
import pytest

from caffepy.device.engine import cpu_engine
from caffepy.layer import TYPES
from tests.cpu.roads import road
from tests.gpu_mode import REAL, running
from tests.solver import golden

RUNS = [(folder, run) for folder in golden.FOLDERS for run in golden.names(folder)]
RESUMED = [
    ("solvers", "sgd_momentum_l2", "sgd_momentum_l2_iter_10.solverstate", 15, "iter15"),
    ("solvers", "sgd_multistep", "sgd_multistep_iter_10.solverstate", 15, "iter15"),
    ("solvers", "adam", "adam_iter_10.solverstate", 15, "iter15"),
    ("solvers", "h5_sgd", "h5_sgd_iter_3.solverstate.h5", 7, "iter7"),
    ("solvers", "h5_adam", "h5_adam_iter_3.solverstate.h5", 7, "iter7"),
    ("solver_runs", "multistep_resume", "multistep_resume_iter_5.solverstate", 12, "iter12_after_resume"),
    ("solver_runs", "adam_resume_h5", "adam_resume_h5_iter_4.solverstate.h5", 9, "iter9_after_resume"),
    ("solver_runs", "resume_with_data_layer", "resume_with_data_layer_iter_4.solverstate", 8, "iter8_after_resume"),
]
TOLERANCE = 1e-5
IN_NUMPYS_ORDER = ("solver_runs", "adam_resume_h5")
"""Its bias in front of a BatchNorm has no derivative but rounding, which Adam scales up to the learning rate: with sums
in another order its losses differ by 5e-5 in the seventh iteration."""


def skip_without_data(folder: str, run: str) -> None:
    if "rich_h5" in str(golden.numbers(folder)[f"{run}/solver"]) and "HDF5Data" not in TYPES:
        pytest.skip("HDF5Data is not there")


@pytest.mark.parametrize(("folder", "run"), RUNS)
@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
def test_losses_and_weights(folder: str, run: str, mode: str) -> None:
    skip_without_data(folder, run)
    stored, losses = golden.iterations(folder, run), golden.losses(folder, run)
    engine = "numpy" if (folder, run) == IN_NUMPYS_ORDER else cpu_engine()
    with running(mode), road(engine), golden.opened(folder, run) as solver:
        for iteration in range(1, stored[-1] + 1):
            solver.step(1)
            for blob, expected in losses.items():
                if iteration <= len(expected):
                    np.testing.assert_allclose(solver.net.blobs[blob].data, expected[iteration - 1], TOLERANCE)
            if iteration in stored:
                found = golden.differences(folder, run, solver, f"iter{iteration}")
                assert max(found.values()) < TOLERANCE, (iteration, found)
        assert solver.iter == stored[-1]


@pytest.mark.parametrize(("folder", "run", "state", "last", "moment"), RESUMED)
@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
def test_real_snapshots_are_resumed(folder: str, run: str, state: str, last: int, moment: str, mode: str) -> None:
    skip_without_data(folder, run)
    with running(mode), golden.opened(folder, run) as solver:
        solver.restore(state)
        if f"{run}/iter{solver.iter}_restored/conv1/0" in golden.numbers(folder):
            restored = golden.differences(folder, run, solver, f"iter{solver.iter}_restored", undetermined=True)
            assert max(restored.values()) == 0
        solver.step(last - solver.iter)
        found = golden.differences(folder, run, solver, moment)
        assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize(("folder", "run"), [("solver_runs", "multistep_resume"), ("solver_runs", "l1_adadelta")])
def test_own_snapshots_are_resumed_to_the_same_bits(folder: str, run: str, tmp_path: Path) -> None:
    with golden.opened(folder, run, snapshot_prefix=str(tmp_path / "own")) as whole:
        whole.step(5)
        state = whole.snapshot()
        whole.step(4)
        with golden.opened(folder, run) as resumed:
            resumed.restore(state)
            resumed.step(4)
    for name, blobs in whole.net.params.items():
        for blob, other in zip(blobs, resumed.net.params[name], strict=True):
            np.testing.assert_array_equal(blob.data, other.data)
    assert resumed.current_step == whole.current_step
