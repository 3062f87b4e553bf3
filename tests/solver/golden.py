"""Real Caffe: tests/golden/solvers, updates of a small net; and solver_runs, whole trainings with files and logs."""

from collections.abc import Iterator
from contextlib import chdir, contextmanager
from functools import cache
from pathlib import Path

import numpy as np

import caffepy as caffe
from caffepy.blob import Blob
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import SolverParameter
from caffepy.solver import Solver

FOLDERS = {name: Path(__file__).parents[1] / "golden" / name for name in ("solvers", "solver_runs")}
UNDETERMINED = {("conv1", "1"), ("bn1", "0")}
"""In solver_runs a bias before BatchNorm, whose derivative is zero: what is computed of it is rounding, which some
rules blow up to steps of any sign; and the running mean, which it is a part of."""


@cache
def numbers(folder: str) -> dict[str, np.ndarray]:
    with np.load(FOLDERS[folder] / "solvers.npz") as archive:
        return {name: archive[name] for name in archive.files}


def names(folder: str) -> list[str]:
    """The runs made from Python; the others are command lines."""
    found = numbers(folder)
    return [
        key.partition("/")[0]
        for key in found
        if key.endswith("/solver") and key.replace("solver", "command") not in found
    ]


@contextmanager
def opened(folder: str, run: str, **changed: object) -> Iterator[Solver]:
    """The run's solver in its folder, its inputs and first weights set; `changed` settings replace the run's."""
    found = numbers(folder)
    param = prototxt.parse(str(found[f"{run}/solver"]), SolverParameter)
    for name, value in changed.items():
        setattr(param, name, value)
    with chdir(FOLDERS[folder]):
        solver = caffe.get_solver(param)
        blobs = {"x": found["x"], "l": found["l"]} if folder == "solvers" else _inputs(found)
        for name in set(blobs) & set(solver.net.inputs):
            solver.net.blobs[name].data[...] = blobs[name].reshape(solver.net.blobs[name].shape)
        if folder == "solvers":
            for index, blob in enumerate(_in_order(solver)):
                blob.data[...] = found[f"w{index}"]
        elif str(found[f"{run}/init"]) != "see solver":
            solver.net.copy_from(str(found[f"{run}/init"]))
        yield solver


def iterations(folder: str, run: str) -> list[int]:
    """Those whose weights are known."""
    keys = [key.split("/") for key in numbers(folder) if key.startswith(f"{run}/iter")]
    return sorted({int(key[1].removeprefix("iter")) for key in keys if key[1].removeprefix("iter").isdecimal()} - {0})


def differences(folder: str, run: str, solver: Solver, moment: str, *, undetermined: bool = False) -> dict[str, float]:
    """Of each weight blob at that moment, relative to its largest value."""
    found = {}
    for key, expected in numbers(folder).items():
        place = key.split("/")
        if place[:2] == [run, moment] and (undetermined or tuple(place[2:]) not in UNDETERMINED):
            blob = (
                _in_order(solver)[int(place[2][1:])]
                if folder == "solvers"
                else solver.net.params[place[2]][int(place[3])]
            )
            found["/".join(place[2:])] = float(abs(blob.data - expected).max() / max(abs(expected).max(), 1e-3))
    assert found
    return found


def losses(folder: str, run: str) -> dict[str, np.ndarray]:
    """By blob, one for each iteration."""
    found = numbers(folder)
    if folder == "solvers":
        return {"loss": found[f"{run}/loss"]} if f"{run}/loss" in found else {}
    return {key.rpartition("/")[2]: value for key, value in found.items() if key.startswith(f"{run}/loss/")}


def _inputs(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: found[f"in/{name}"] for name in "xlt"}


def _in_order(solver: Solver) -> list[Blob]:
    return [blob for blobs in solver.net.params.values() for blob in blobs]
