"""The public names and how they are called, a line each: `python -m tests.public_api > tests/public_api.txt`."""

import importlib
import inspect
from collections.abc import Iterator
from types import GenericAlias, ModuleType
from typing import Any, is_typeddict

MODULES = (
    "caffepy",
    *("batch", "classifier", "coord_map", "data", "detector", "dnn", "draw", "errors", "explore.looks", "io", "limits"),
    *("net", "net_spec", "rules", "saliency", "saliency.metrics", "solver", "zoo", "zoo.nets"),
)


def lines() -> Iterator[str]:
    """Every module, its names in order, and the public members of its classes, but those of a public base."""
    modules = [importlib.import_module(name if name == "caffepy" else f"caffepy.{name}") for name in MODULES]
    values = {
        f"{module.__name__}.{name}": getattr(module, name) for module in modules for name in sorted(_names(module))
    }
    known = {value for value in values.values() if inspect.isclass(value)}
    seen: set[Any] = set()
    for name, value in values.items():
        yield f"{name}{_called(value)}"
        if inspect.isclass(value) and value not in seen:
            seen.add(value)
            yield from (f"{name}.{member}" for member in _members(value, known))


def _names(module: ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def _members(kind: type, known: set[Any]) -> Iterator[str]:
    ours = [
        base
        for base in kind.__mro__
        if base.__module__.split(".")[0] == "caffepy" and (base is kind or base not in known)
    ]
    names = {name for base in ours for name in vars(base) if not name.startswith("_")}
    for name in sorted(names):
        value = inspect.getattr_static(kind, name)
        value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        yield f"{name}{_called(value) if inspect.isroutine(value) else ''}"


def _called(value: Any) -> str:
    if inspect.ismodule(value) or not callable(value) or isinstance(value, GenericAlias):
        return ""
    if is_typeddict(value):  # options by name
        return f"(*, {', '.join(value.__annotations__)})"
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    parameters = [
        parameter.replace(annotation=parameter.empty, default=_default(parameter.default))
        for parameter in signature.parameters.values()
    ]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


class _Shown:
    """A default whose repr is the same in every process."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _default(value: Any) -> Any:
    plain = value is inspect.Parameter.empty or isinstance(value, str | int | float | tuple | None)
    return value if plain else _Shown(type(value).__name__)


if __name__ == "__main__":
    print("\n".join(lines()))
