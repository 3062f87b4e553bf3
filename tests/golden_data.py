"""tests/golden/data: inputs of data layers, and what real Caffe made of them (BVLC at 9b89154, OpenCV 4.6).

<type>.npz holds `<case>/<key>`: `prototxt` and `phase`, `outputs` in Caffe's order, `setup_shape/<top>` before the
first forward pass, `batch<i>/<top>` after each (as uint8 where that loses nothing), MemoryData's `set/data` and
`set/labels`.
edges.json lists nets and commands that Caffe refuses or takes in a special way; random_notes.json what chance did.
Everything is relative to that folder.
"""

import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "golden" / "data"
TYPES = ("Data", "ImageData", "HDF5Data", "WindowData", "MemoryData", "DummyData")


@cache
def cases(layer_type: str) -> dict[str, dict[str, Any]]:
    """The cases of a layer type: name -> key -> array."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    with np.load(FOLDER / f"{layer_type}.npz") as file:
        for key in file.files:
            case, _, name = key.partition("/")
            found[case][name] = file[key]
    return dict(found)


def edges() -> list[dict[str, Any]]:
    """The edge cases, in order."""
    return json.loads((FOLDER / "edges.json").read_text())


def made_by() -> dict[str, Any]:
    """Which command made which file."""
    return json.loads((FOLDER / "made_by.json").read_text())


def needs_leveldb(text: str) -> None:
    """Skip the test, saying so, where it needs plyvel and that is not there."""
    if "LEVELDB" in text.upper():
        pytest.importorskip("plyvel", reason="plyvel, which LevelDB needs, is not installed")
