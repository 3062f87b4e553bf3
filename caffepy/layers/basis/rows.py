"""Rows taken by number."""

import numpy as np

from caffepy.blob import Floats
from caffepy.kernels import kernel


@kernel("rows.cu", per="top_data")
def gather_forward(bottom_data: Floats, place_data: Floats, rows: int, places: int, top_data: Floats) -> None:
    """top[r] = bottom[place[r]] for `places` r, or zeros where place[r] is none of the `rows` rows"""
    there = (place_data > -1) & (place_data < rows)
    top = top_data.reshape(places, -1) if top_data.size else top_data
    if rows and top.size:
        np.take(bottom_data.reshape(rows, -1), np.where(there, place_data, 0).astype(np.intp), axis=0, out=top)
    top[~there] = 0


@kernel("rows.cu", per="bottom_diff")
def gather_backward(top_diff: Floats, place_data: Floats, rows: int, places: int, bottom_diff: Floats) -> None:
    """bottom_diff[b] = sum of the top_diff[r] whose place[r] is b"""
    bottom_diff[...] = 0
    there = np.flatnonzero((place_data > -1) & (place_data < rows))
    np.add.at(bottom_diff, place_data[there].astype(np.intp), top_diff[there])


@kernel("row_lengths.cu", rows="lengths", threads=256)
def row_lengths(bottom_data: Floats, inner: int, lengths: Floats) -> None:
    """lengths[r] = |bottom[r]|"""
    x = bottom_data.reshape(-1, inner)
    np.sqrt(np.einsum("ri,ri->r", x, x), out=lengths)


@kernel("row_lengths.cu", rows="lengths", threads=256)
def unit_rows(weight_data: Floats, inner: int, lengths: Floats) -> None:
    """lengths[r] = |weight[r]|; weight[r] /= lengths[r], a row of zeros stays"""
    row_lengths.twin(weight_data, inner, lengths)
    weight_data /= np.where(lengths > 0, lengths, np.float32(1))[:, None]
