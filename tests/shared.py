"""The folder of trained models and pictures that some tests use: CAFFEPY_SHARED, by default beside the checkout."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("CAFFEPY_SHARED", ROOT.parent / "shared"))


def shared(path: str) -> Path:
    """`path` in that folder; skips the test, saying so, where it is absent."""
    found = SHARED / path
    if not found.exists():
        pytest.skip(f"{path} is not in {SHARED}; set CAFFEPY_SHARED to the folder that has it")
    return found
