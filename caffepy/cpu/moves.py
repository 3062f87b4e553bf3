"""Copies and fills: values keep the layout that they are in."""

import numpy as np

from caffepy.blob import Floats
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.homes import DST, SRC, ZEROS, reorder
from caffepy.cpu.record import Operation
from caffepy.cpu.table import translates


@translates("copy_forward", "copy_backward", "copy")
def copy(b: Builder, operation: Operation) -> None:
    """target = source"""
    source, target = (operation[name] for name in _NAMES[operation.name])
    move(b, source, target)


_NAMES = {
    "copy_forward": ("bottom_data", "top_data"),
    "copy_backward": ("top_diff", "bottom_diff"),
    "copy": ("source", "target"),
}


@translates("eltwise_sum_backward")
def eltwise_sum_backward(b: Builder, operation: Operation) -> None:
    """bottom_diff = top_diff, where the coefficient is 1"""
    if operation.constants["coeff"] != 1:
        raise DeclinedError
    move(b, operation["top_diff"], operation["bottom_diff"])


@translates("fill")
def fill(b: Builder, operation: Operation) -> None:
    """With zeros: nothing is written before somebody reads it, and who adds to it writes instead."""
    if operation["value"] != 0 or operation["array"].dtype != np.float32:
        raise DeclinedError
    b.compute(operation["array"], ZEROS)


def move(b: Builder, source: Floats, target: Floats) -> None:
    """target = source, in the source's layout; no move at all where that can be the last use of the source"""
    if b.rename(source, target):
        return
    layout = b.form(source)
    if layout.plain:
        raise DeclinedError
    primitive = reorder(layout, layout)
    memory = b.read(source, layout)
    b.add(primitive, {SRC: memory, DST: b.write(target, layout)})
