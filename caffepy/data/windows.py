"""Windows of pictures, as R-CNN trains on them (src/caffe/layers/window_data_layer.cpp)."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from caffepy.blob import Floats
from caffepy.data.bilinear import Picture, resize
from caffepy.data.files import PathLike, read_file, read_lines
from caffepy.data.pictures import decode
from caffepy.data.records import channels_first
from caffepy.data.transform import Values
from caffepy.errors import DataError
from caffepy.rng import Mt19937

_CACHE_LIMIT = 2**32
"""Bytes of encoded pictures that cache_images keeps."""


class Window(NamedTuple):
    """A rectangle of a picture, corners included."""

    picture: int
    label: int
    x1: int
    y1: int
    x2: int
    y2: int


class Region(NamedTuple):
    """What is cut out (corners included), the size it is warped to, and where that lies in the crop."""

    x1: int
    y1: int
    x2: int
    y2: int
    width: int
    height: int
    left: int
    above: int


@dataclass
class WindowFile:
    """The pictures of a window file, and their windows by their overlap with an object."""

    name: str
    pictures: list[str] = field(default_factory=list)
    foreground: list[Window] = field(default_factory=list)
    background: list[Window] = field(default_factory=list)


def read_windows(source: PathLike, fg_threshold: float, bg_threshold: float) -> WindowFile:
    """Parse `# index`, the picture's path, channels, height, width, the number of windows; then a line for each window:
    label, overlap, x1, y1, x2, y2.

    Windows that overlap by fg_threshold or more are foreground, by less than bg_threshold background with label 0.
    Raises MissingFileError, or DataError for a file that is empty or not of that form.
    """
    found = WindowFile(f"window file {os.fspath(source)!r}")
    words = iter(" ".join(read_lines(source)).split())
    for mark in words:
        entry = f"{found.name}, picture {len(found.pictures)}"
        if mark != "#":
            raise DataError(f"{entry}: expected '#', got {mark!r}")
        try:
            if (index := int(next(words))) != len(found.pictures):
                raise DataError(f"{entry}: its index is {index}; number the pictures from 0")
            found.pictures.append(next(words))
            channels, _, _, count = (int(next(words)) for _ in range(4))
            if channels != 3:
                raise DataError(f"{entry} has {channels} channels; pictures are read in colour, so give 3")
            for _ in range(count):
                label, overlap = int(next(words)), np.float32(next(words))
                window = Window(index, label, *(int(next(words)) for _ in range(4)))
                if overlap >= np.float32(fg_threshold):
                    if label < 1:
                        raise DataError(f"{entry}: a foreground window has label {label}; labels of objects begin at 1")
                    found.foreground.append(window)
                elif overlap < np.float32(bg_threshold):
                    found.background.append(window._replace(label=0))
        except (
            ValueError,
            StopIteration,
            RuntimeError,
            OverflowError,
        ) as error:  # RuntimeError: it ends in a generator
            if isinstance(error, DataError):
                raise
            raise DataError(f"{entry} is cut short or no number: {error}") from error
    if not found.pictures:
        raise DataError(f"{found.name} is empty")
    return found


class WindowItem:
    """A window, not yet cut out."""

    slow = True

    def __init__(self, source: "WindowSource", window: Window, mirrored: bool) -> None:
        self.what = f"{source.windows.name}, picture {window.picture} ({source.windows.pictures[window.picture]})"
        self.epoch = 0  # windows are drawn: there is no end to come to
        self._source, self._window, self._mirrored = source, window, mirrored

    def read(self) -> tuple[Values, float]:
        """The crop, its mean subtracted, zeros where it lies outside the picture."""
        source, size = self._source, self._source.crop_size
        try:
            picture = source.picture(self._window.picture)
        except RuntimeError as error:
            raise type(error)(f"{self.what}: {error}") from error
        region = source.region(self._window, picture, self._mirrored)
        if region.x1 < 0 or region.y1 < 0 or region.x2 >= picture.shape[1] or region.y2 >= picture.shape[0]:
            raise DataError(f"{self.what}: window {self._window[2:]} is outside its {picture.shape[1::-1]} pixels")
        if min(region.x2 - region.x1, region.y2 - region.y1) < 0 or min(region.width, region.height) < 1:
            raise DataError(f"{self.what}: nothing is left of window {self._window[2:]}")
        part = resize(picture[region.y1 : region.y2 + 1, region.x1 : region.x2 + 1], region.height, region.width)
        values = channels_first(part[:, ::-1] if self._mirrored else part)
        place = np.s_[:, region.above : region.above + region.height, region.left : region.left + region.width]
        crop = np.zeros((3, size, size), np.float32)
        crop[place] = values
        if source.mean is not None:
            crop[place] -= source.mean[place] if source.mean.shape[1:] == (size, size) else source.mean
        crop[place] *= np.float32(source.scale)
        return crop, self._window.label


@dataclass
class WindowSource:
    """Windows drawn at random, in each batch the background ones first.

    mean     (3, crop_size, crop_size) or (3, 1, 1), or None; scale is applied after it
    square   cut out the square around a window, else the window itself
    """

    windows: WindowFile
    random: Mt19937
    batch_size: int
    crop_size: int
    foreground: int
    root_folder: str = ""
    context_pad: int = 0
    square: bool = False
    mirror: bool = False
    mean: Floats | None = None
    scale: float = 1
    cache: bool = False

    def __post_init__(self) -> None:
        self._cached: dict[int, bytes] = {}
        self._cached_bytes = 0

    def items(self) -> Iterator[WindowItem]:
        """Endless. Raises DataError where a batch needs windows of a kind that the file lacks."""
        files = self.windows
        if not files.foreground or not files.background:
            kind = "background" if files.foreground else "foreground"
            raise DataError(f"{files.name} has no {kind} window; both kinds are drawn from")
        while True:
            for position in range(self.batch_size):
                kind_of = files.background if position < self.batch_size - self.foreground else files.foreground
                yield self._draw(kind_of)

    def _draw(self, windows: Sequence[Window]) -> WindowItem:
        window = windows[self.random.draw() % len(windows)]
        return WindowItem(self, window, self.mirror and self.random.draw() % 2 == 1)

    def picture(self, index: int) -> Picture:
        """The picture in colour."""
        path = self.root_folder + self.windows.pictures[index]
        data = self._cached.get(index) or read_file(path)
        if self.cache and index not in self._cached and self._cached_bytes + len(data) <= _CACHE_LIMIT:
            self._cached[index] = data
            self._cached_bytes += len(data)
        return decode(data, True, f"picture {path!r}")

    def region(self, window: Window, picture: Picture, mirrored: bool) -> Region:
        """What to cut out for a window, in Caffe's single precision."""
        _, _, x1, y1, x2, y2 = window
        size = self.crop_size
        if not self.context_pad and not self.square:
            return Region(x1, y1, x2, y2, size, size, 0, 0)
        half = [np.float32((last - first + 1) / 2) for first, last in ((x1, x2), (y1, y2))]
        centre = np.float32(x1) + half[0], np.float32(y1) + half[1]
        if self.square:
            half = [max(half)] * 2
        zoom = np.float32(size) / np.float32(size - 2 * self.context_pad)
        (x1, x2), (y1, y2) = ((_round(c - h * zoom), _round(c + h * zoom)) for c, h in zip(centre, half, strict=True))
        height, width = picture.shape[:2]
        before, behind = (max(0, -x1), max(0, -y1)), (max(0, x2 - width + 1), max(0, y2 - height + 1))
        zooms = np.float32(size) / np.float32(x2 - x1 + 1), np.float32(size) / np.float32(y2 - y1 + 1)
        x1, y1, x2, y2 = x1 + before[0], y1 + before[1], x2 - behind[0], y2 - behind[1]
        left = _round(np.float32(behind[0] if mirrored else before[0]) * zooms[0])
        above = _round(np.float32(before[1]) * zooms[1])
        across, down = _round(np.float32(x2 - x1 + 1) * zooms[0]), _round(np.float32(y2 - y1 + 1) * zooms[1])
        return Region(x1, y1, x2, y2, min(across, size - left), min(down, size - above), left, above)

    def close(self) -> None:
        """Nothing is open."""


def _round(value: np.float32) -> int:
    """C's round: halves away from zero."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))
