"""Tile: a blob repeated along an axis."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, register


@register("Tile", bottoms=1, tops=1)
class Tile(Layer):
    """(..., c, ...) -> (..., tiles * c, ...): `tiles` copies along `axis`, one after the other (tile_layer.cpp)."""

    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.tiles = self.param.tile_param.tiles
        if self.tiles < 1:
            raise self.error(f"give tile_param tiles of at least 1, got {self.tiles}")

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        axis = self.canonical_axis(self.param.tile_param.axis, bottom)
        self.run = math.prod(bottom[axis:])
        return [(*bottom[:axis], self.tiles * bottom[axis], *bottom[axis + 1 :])]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        tile_forward(bottom[0].data, self.tiles, self.run, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            tile_backward(top[0].diff, self.tiles, self.run, bottom[0].diff)


@kernel("tile.cu", per="top_data")
def tile_forward(bottom_data: Floats, tiles: int, run: int, top_data: Floats) -> None:
    """top[o, t, i] = bottom[o, i], for runs of `run` values"""
    if top_data.size:
        top_data.reshape(-1, tiles, run)[...] = bottom_data.reshape(-1, 1, run)


@kernel("tile.cu", per="bottom_diff")
def tile_backward(top_diff: Floats, tiles: int, run: int, bottom_diff: Floats) -> None:
    """bottom_diff[o, i] = sum over t of top_diff[o, t, i]"""
    if top_diff.size:
        np.sum(top_diff.reshape(-1, tiles, run), axis=1, out=bottom_diff.reshape(-1, run))
