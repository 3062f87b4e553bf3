"""Operations of gradient ascent on an image."""

import numpy as np

from caffepy.blob import Floats
from caffepy.kernels import kernel


@kernel("ascent.cu", per="rolled")
def rolled_forward(image: Floats, height: int, width: int, down: int, right: int, rolled: Floats) -> None:
    """rolled[p, y, x] = image[p, y - down, x - right], around the edges"""
    planes = image.reshape(-1, height, width)
    rolled.reshape(-1, height, width)[...] = np.roll(planes, (down, right), (1, 2))


@kernel("ascent.cu", rows="size")
def mean_size(values: Floats, inner: int, size: Floats) -> None:
    """size[n] = mean over i of |values[n, i]|"""
    np.mean(np.abs(values.reshape(-1, inner)), axis=1, out=size)


@kernel("ascent.cu", per="next")
def ascend_forward(
    image: Floats,
    gradient: Floats,
    size: Floats,
    rate: float,
    smoothing: float,
    decay: float,
    height: int,
    width: int,
    next: Floats,
) -> None:
    """next = image + rate * (gradient / size - smoothing * the sum of what it is above its neighbours) - decay * image

    A size of 0 divides by 1.
    """
    change = gradient / (size[0] if size[0] > 0 else np.float32(1))
    if smoothing:
        rough = np.zeros_like(image).reshape(-1, height, width)
        planes = image.reshape(-1, height, width)
        for axis in (1, 2):
            step = np.diff(planes, axis=axis)
            rough += np.pad(step, [(0, 0), *((int(axis == at), 0) for at in (1, 2))])
            rough -= np.pad(step, [(0, 0), *((0, int(axis == at)) for at in (1, 2))])
        change -= np.float32(smoothing) * rough.reshape(image.shape)
    next[...] = image + np.float32(rate) * change - np.float32(decay) * image


@kernel("ascent.cu", per="values")
def clip_channels(low: Floats, high: Floats, channels: int, inner: int, values: Floats) -> None:
    """values[n, c, i] = no less than low[c], no more than high[c]"""
    rows = values.reshape(-1, channels, inner)
    np.clip(rows, low.reshape(-1, 1), high.reshape(-1, 1), out=rows)


@kernel("ascent.cu", rows="gram")
def gram_forward(values: Floats, channels: int, inner: int, gram: Floats) -> None:
    """gram[a, b] = mean over i of values[a, i] * values[b, i]"""
    rows = values.reshape(channels, inner)
    gram.reshape(channels, channels)[...] = rows @ rows.T / np.float32(inner)
