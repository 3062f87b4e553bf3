"""Numbers of real pycaffe, and random pictures."""

from pathlib import Path

import numpy as np

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "io" / "io.npz")
RANDOM = np.random.default_rng(7)


def picture(*shape: int) -> np.ndarray:
    """A random one, in [0, 1)."""
    return RANDOM.random(shape, dtype=np.float32)
