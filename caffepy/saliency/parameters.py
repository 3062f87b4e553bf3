"""What methods may be told: their parameters' kinds and bounds, by name; one name means one thing everywhere."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from caffepy.errors import ArgumentError

MOST_SEED = 2**31 - 1
_AT_LEAST: dict[str, float] = {
    "samples": 1,
    "steps": 1,
    "masks": 1,
    "window": 1,
    "stride": 1,
    "iterations": 1,
    "cells": 2,
    "grid": 2,
    "noise": 0,
    "sigma": 0,
    "blur": 0,
    "distance": 0,
}
_BETWEEN_0_AND_1 = ("probability", "area", "fraction")
_ABOVE_0 = ("error", "reach")


def check(name: str, compute: Callable[..., Any], chosen: Mapping[str, Any], method: type) -> None:
    """Raise ArgumentError where a parameter of `compute` is unknown, or not of its kind or within its bounds."""
    signature = inspect.signature(compute)
    listed = list(signature.parameters.values())[1:]
    for given in chosen:
        if given not in {parameter.name for parameter in listed}:
            raise ArgumentError(f"{name}: got an unexpected keyword argument {given!r}; it takes {described(compute)}")
    for parameter in listed:
        if parameter.name not in chosen:
            continue
        value, kind = chosen[parameter.name], parameter.annotation
        if value is None and kind in (int | None, float | None):
            continue
        if kind in (int, int | None):
            whole_number(f"{name}: {parameter.name}", value)
        elif kind in (float, float | None):
            number(f"{name}: {parameter.name}", value)
        elif kind is method and not isinstance(value, method):
            raise ArgumentError(f"{name}: {parameter.name} is {value!r}; give a method, such as saliency.gradient")
        else:
            continue
        _within(name, parameter.name, value)


def whole_number(what: str, value: Any, least: int | None = None) -> int:
    """The value as an int. Raises ArgumentError where it is no whole number, or less than `least`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentError(f"{what} is {value!r}; give a whole number")
    index: int = value.__index__()
    if least is not None and index < least:
        raise ArgumentError(f"{what} is {index}; give at least {least}")
    return index


def number(what: str, value: Any) -> float:
    """The value as a float. Raises ArgumentError where it is none, or not finite."""
    try:
        found = math.nan if isinstance(value, str | bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise ArgumentError(f"{what} is {value!r}; give a finite number")
    return found


def described(compute: Callable[..., Any]) -> str:
    """The parameters that it takes beside those all methods have, with their defaults."""
    listed = list(inspect.signature(compute).parameters.values())[1:]
    shown = [getattr(p.default, "name", p.default) for p in listed]
    return ", ".join(f"{p.name}={s!r}" for p, s in zip(listed, shown, strict=True)) or "no further parameters"


def _within(name: str, parameter: str, value: Any) -> None:
    least = _AT_LEAST.get(parameter)
    if least is not None and not value >= least:
        raise ArgumentError(f"{name}: {parameter} is {value}; give at least {least:g}")
    if parameter in _BETWEEN_0_AND_1 and not 0 < value < 1:
        raise ArgumentError(f"{name}: {parameter} is {value}; give more than 0 and less than 1")
    if parameter in _ABOVE_0 and not value > 0:
        raise ArgumentError(f"{name}: {parameter} is {value}; give more than 0")
    if parameter == "seed" and not 0 <= value <= MOST_SEED:
        raise ArgumentError(f"{name}: seed is {value}; give 0 to {MOST_SEED}")
