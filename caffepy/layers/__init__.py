"""The layer types, in rooms by what a layer does; all are imported when somebody asks for one by name.

As pycaffe's `caffe.layers` it has for every type a function that describes such a layer: `L.Convolution(...)`.
"""

import importlib
import pkgutil
from typing import Any

from caffepy import net_spec
from caffepy.layer import TYPES


def _import_all() -> None:
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)


TYPES.import_all = _import_all


def __getattr__(name: str) -> Any:
    """A room, else what describes a layer of that type."""
    if name not in TYPES and name in globals():  # a room, which is there once all are imported
        return globals()[name]
    return net_spec.layers.__getattr__(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(net_spec.layers)})
