"""Nets in other libraries: PyTorch, ONNX, safetensors. A module's library is imported when it is used."""

import importlib
from typing import Any

from caffepy.errors import StateError


def library(name: str, purpose: str, extra: str) -> Any:
    """The module `name`; raises StateError that says what to install for `purpose`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise StateError(f"{purpose} needs {name} ({error}): pip install 'caffepy[{extra}]'") from error
