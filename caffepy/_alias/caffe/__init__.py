"""Caffe's import name for caffepy: every caffe.X is the very module or object caffepy.X."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pkgutil import extend_path
from types import ModuleType

import caffepy
from caffepy import _caffe  # noqa: F401 (so that caffe._caffe is there at once)

__all__ = caffepy.__all__


class _Alias(MetaPathFinder, Loader):
    """Gives caffepy.X, imported once and under its own name, to whoever imports caffe.X."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.startswith("caffe.") and importlib.util.find_spec(_own_name(fullname)):
            return ModuleSpec(fullname, self)
        __path__[:] = extend_path(__path__, "caffe")  # folders `caffe` of others, on today's sys.path
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(_own_name(spec.name))
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ and module.__spec__.loader is self:
            module.__spec__ = module.__spec__.loader_state  # which the import system has just replaced


def _own_name(alias: str) -> str:
    return "caffepy" + alias.removeprefix("caffe")


sys.meta_path.insert(0, _Alias())  # ahead of the finder that would load caffepy's files a second time


def __getattr__(name: str) -> object:
    try:
        return getattr(caffepy, name)
    except AttributeError:
        raise AttributeError(f"module 'caffe' (of caffepy) has no attribute '{name}'") from None


def __dir__() -> list[str]:
    return dir(caffepy)
