"""Gradient ascent on an image: the one loop behind class visualisation, deep dream and style transfer."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffepy import device
from caffepy.blob import Floats
from caffepy.errors import ArgumentError
from caffepy.net import Net
from caffepy.saliency import pictures
from caffepy.saliency.resample import blurred
from caffepy.saliency.result import shown
from caffepy.saliency.subject import uploaded, zeros
from caffepy.saliency.synthesis.operations import ascend_forward, clip_channels, mean_size, rolled_forward
from caffepy.saliency.target import Diffs

Objective = Callable[[Net], Diffs]
"""Looks at the blobs of a forward pass and says how they are to change: diffs by blob, to be followed upward."""
Progress = Callable[[], object]


@dataclass(frozen=True)
class Ascent:
    """How an image is changed, step by step."""

    steps: int = 100
    """In each octave."""
    rate: float = 0.01
    """Of a step, the mean absolute change of a value, in parts of the input's scale."""
    decay: float = 0.0
    """lambda of -lambda ||image||^2, a part of each value that is lost at each step."""
    total_variation: float = 0.0
    """How strongly neighbours are drawn together, in parts of `rate`."""
    blur: float = 0.0
    """Sigma, in pixels, of a Gaussian every `blur_every` steps."""
    blur_every: int = 4
    jitter: int = 0
    """Pixels that the image is shifted at most, at random, during a step."""
    octaves: int = 1
    """Sizes, from small to the whole."""
    octave_scale: float = 1.4
    seed: int = 0

    def check(self) -> None:
        """Raise ArgumentError for what cannot be."""
        sizes = (self.rate, self.decay, self.total_variation, self.blur, self.octave_scale)
        if not all(math.isfinite(size) and size >= 0 for size in sizes):
            raise ArgumentError(f"{self}: rate, decay, total_variation and blur are finite and at least 0")
        if self.steps < 1 or self.octaves < 1 or self.octave_scale <= 1 or self.jitter < 0 or self.blur_every < 1:
            raise ArgumentError(f"{self}: steps, octaves and blur_every are at least 1, octave_scale above 1, jitter 0")


@dataclass(frozen=True, eq=False)
class Synthesis:
    """An image that was made."""

    array: Floats
    """The net's input, (1, channels, height, width)."""
    what: str
    score: float
    preprocess: Any = None

    def __repr__(self) -> str:
        return f"<Synthesis of {self.what} {self.array.shape}: {self.score:.4g}>"

    def picture(self) -> pictures.Picture:
        """The image as a picture."""
        return pictures.to_picture(shown(self.array[0], self.preprocess))

    def save(self, path: Any, *, longest: int | None = None) -> None:
        """Write it; raises ArgumentError or MissingFileError as pictures.save."""
        picture = self.picture()
        pictures.save(picture if longest is None else pictures.enlarged(picture, longest), path)

    def _repr_png_(self) -> bytes:
        """For notebooks."""
        return pictures.png(self.picture())


def sizes(height: int, width: int, ascent: Ascent) -> list[tuple[int, int]]:
    """(height, width) of each octave, the last the whole."""
    factors = [ascent.octave_scale**-k for k in reversed(range(ascent.octaves))]
    return [(max(1, round(height * f)), max(1, round(width * f))) for f in factors]


def climb(
    net: Net,
    image: Floats,
    objective: Objective,
    ascent: Ascent,
    *,
    scale: float,
    bounds: tuple[Floats, Floats] | None = None,
    progress: Progress | None = None,
) -> Floats:
    """The image after `ascent.steps` steps up the objective; `image` is (1, channels, height, width).

    scale    of the input's values, white minus black
    bounds   the least and greatest values of the input, which broadcast
    """
    rng, (name,) = np.random.default_rng(ascent.seed), net.inputs
    blob, shape = net.blob(name), image.shape
    (height, width), limits = shape[2:], bounds and tuple(_by_channel(bound, shape[1]) for bound in bounds)
    with net.running():
        now, rolled, back, size = uploaded(np.array(image)), zeros(shape), zeros(shape), zeros((1,))
        if blob.shape != shape:
            blob.reshape(shape)
        for step in range(1, ascent.steps + 1):
            down, right = (int(s) for s in rng.integers(-ascent.jitter, ascent.jitter + 1, 2))
            rolled_forward(now, height, width, down, right, rolled)
            device.current().copy(rolled, blob.data_storage.array(blob.count, "overwrite").reshape(shape))
            net.forward_from_to(0, len(net.execution.layers) - 1)
            rolled_forward(net.gradient(objective(net), [name])[name], height, width, -down, -right, back)
            mean_size(back, math.prod(shape), size)
            if not np.isfinite(device.downloaded(size)).all():
                raise ArgumentError("the gradient is not finite: are the weights, or is `rate` too large?")
            smoothing = ascent.total_variation / scale
            ascend_forward(now, back, size, ascent.rate * scale, smoothing, ascent.decay, height, width, rolled)
            now, rolled = rolled, now
            if ascent.blur and step % ascent.blur_every == 0:
                now = blurred(now, ascent.blur)
            if limits:
                clip_channels(limits[0], limits[1], shape[1], height * width, now)
            if progress is not None:
                progress()
        return device.downloaded(now).copy()


def _by_channel(bound: Floats, channels: int) -> Any:
    return uploaded(np.broadcast_to(np.ravel(bound), (channels,)))


def resized(image: Floats, size: tuple[int, int]) -> Floats:
    """(1, channels, h, w) -> (1, channels, *size)"""
    if image.shape[2:] == size:
        return image
    return np.stack([pictures.resize(plane, size) for plane in image[0]])[np.newaxis]


def octaves(image: Floats, ascent: Ascent) -> Iterator[tuple[int, int]]:
    """The sizes of the octaves of an image."""
    ascent.check()
    yield from sizes(image.shape[2], image.shape[3], ascent)


def total_steps(ascent: Ascent) -> int:
    """Steps in all octaves, for a progress bar."""
    return math.prod((ascent.steps, ascent.octaves))
