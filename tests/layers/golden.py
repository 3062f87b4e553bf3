"""The golden cases of tests/golden/layers: small nets that real Caffe ran forward and backward.

FAMILY.npz, in the room of that layer, holds `<case>/<kind>/<blob>`; each case is a whole net. The kinds:

    prototxt, phase     the net's text, TRAIN or TEST
    in, param           input blobs' data; weights, by `<layer>/<index>`
    top                 outputs' data after forward
    topdiff             outputs' diffs before backward: injected noise, or what the loss weight put there
    botdiff, paramdiff  inputs' and weights' diffs after backward; absent where Caffe has no backward
    param_after         BatchNorm's blobs after the pass
    order               names of outputs, blobs and layers in Caffe's order, inserted splits included
"""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "golden" / "layers"

_MISSING = ""
MISSING_TYPES = set(_MISSING.split())
"""Layer types of the golden nets that caffepy does not have; cases with one of them do not run."""

LONG_SUMS = ("MVN/", "LRN/across_strong")
"""Where the cases' ids begin that float32 can only give to 1e-3."""

NOT_A_DERIVATIVE = {
    "Graph/inplace_chain": {"botdiff/x"},
    "BatchReindex/noforce_basic": {"botdiff/x"},
    "Filter/noforce_basic": {"botdiff/x"},
    "InfogainLoss/noforce_three_bottoms": {"botdiff/x"},
}
"""What Caffe computes from data that a later layer has written over in place; or what its Scale leaves, as a scratch
value, in a diff that nobody asked for."""


@dataclass(frozen=True)
class Golden:
    """One case: its net's text and phase (TRAIN or TEST), and arrays by kind and blob."""

    family: str
    name: str
    prototxt: str
    phase: str
    arrays: dict[str, dict[str, np.ndarray]] = field(repr=False)

    @property
    def id(self) -> str:
        """The file's name and the case's."""
        return f"{self.family}/{self.name}"

    @property
    def types(self) -> set[str]:
        """The layer types of the net."""
        return set(re.findall(r'type: *"(\w+)"', self.prototxt))

    @property
    def relative_tolerance(self) -> float:
        """Of float32 sums in another order."""
        return 1e-3 if self.id.startswith(LONG_SUMS) else 1e-4

    def kind(self, kind: str) -> dict[str, np.ndarray]:
        """The arrays of a kind, by blob."""
        return self.arrays.get(kind, {})


@cache
def cases() -> list[Golden]:
    """Every case of every file."""
    found = []
    for file in sorted(FOLDER.rglob("*.npz"), key=lambda file: file.name):
        by_case: dict[str, dict[str, dict[str, np.ndarray]]] = {}
        with np.load(file) as arrays:
            for key in arrays.files:
                case, kind, *blob = key.split("/", 2)
                by_case.setdefault(case, {}).setdefault(kind, {})["".join(blob)] = arrays[key]
        for case, kinds in by_case.items():
            prototxt, phase = (str(kinds.pop(kind)[""]) for kind in ("prototxt", "phase"))
            found.append(Golden(file.stem, case, prototxt, phase, kinds))
    return found


def runnable() -> list[Golden]:
    """The cases whose layer types are not missing."""
    return [case for case in cases() if not case.types & MISSING_TYPES]
