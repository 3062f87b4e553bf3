"""The layer types, in rooms by what a layer does; importing this package registers them all.

As pycaffe's `caffe.layers` it has for every type a function that describes such a layer: `L.Convolution(...)`.
"""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from caffepy import net_spec

for _module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(_module.name)


def __getattr__(name: str) -> Callable[..., Any]:
    return net_spec.layers.__getattr__(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(net_spec.layers)})
