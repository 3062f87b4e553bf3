"""The random numbers of fillers and dropout: one generator for the process."""

import numpy as np

_generator = np.random.default_rng()


def set_random_seed(seed: int) -> None:
    """Start the generator afresh, so that fillers and dropout masks repeat from here on."""
    global _generator
    _generator = np.random.default_rng(seed)


def generator() -> np.random.Generator:
    """The process's generator."""
    return _generator
