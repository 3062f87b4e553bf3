"""Maps as pictures (uint8 RGB, height x width x 3): scaled, coloured, laid over their image, side by side."""

import io as bytes_io
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from os.path import splitext
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from caffepy.blob import Floats
from caffepy.errors import ArgumentError, CaffeError, MissingFileError
from caffepy.proto.files import replacing

Picture = npt.NDArray[np.uint8]

# Nine colours of CIE lightness 0, 12.5, ... 100, through red and orange: equal steps of a value look equal.
_HEAT = np.array(
    [
        (0, 0, 0),
        (70, 2, 37),
        (122, 5, 36),
        (178, 12, 34),
        (229, 42, 6),
        (242, 114, 12),
        (254, 166, 37),
        (254, 215, 128),
        (255, 255, 255),
    ],
    np.float32,
)
# For values of -1 to 1: blue, white, red, straight lines in CIE Lab, the ends of lightness 38.
_SIGNED = np.array(
    [
        (23, 84, 188),
        (74, 103, 197),
        (106, 122, 205),
        (133, 143, 214),
        (159, 164, 223),
        (183, 186, 231),
        (208, 209, 239),
        (231, 232, 247),
        (255, 255, 255),
        (251, 228, 223),
        (246, 201, 191),
        (239, 174, 160),
        (229, 147, 130),
        (219, 121, 101),
        (206, 93, 73),
        (193, 63, 47),
        (178, 23, 20),
    ],
    np.float32,
)
_LUMINANCE = np.array((0.2125, 0.7154, 0.0721), np.float32)  # ITU-R BT.709, as scikit-image's rgb2gray
_DIMMED, _OPACITY = 0.8, 0.85  # of the picture, and of the highest values, in an overlay
_SMOOTH, _LEAST = 0.015, 0.7  # sigma of an overlay's map, in parts of its longer side, and at least in pixels
_BACKGROUND, _INK = 255, 30


@dataclass(frozen=True)
class Panel:
    """A picture and the line of text under it."""

    picture: Picture
    caption: str = ""


def normalize(values: npt.ArrayLike, percentile: float = 99.0) -> Floats:
    """The values, at least 0, divided by their `percentile` and cut off at 1; zeros where nothing is above 0.

    A few pixels far above the others would leave the rest black, hence the percentile. Where it is 0, as in a map with
    few values above 0, the maximum takes its place. Raises ArgumentError for negative or non-finite values.
    """
    array = np.asarray(values, np.float32)
    if array.size == 0 or not np.isfinite(array).all() or array.min() < 0:
        found = "is empty" if array.size == 0 else f"has values from {array.min():g} to {array.max():g}"
        raise ArgumentError(f"normalize: the map {found}; expected finite values of at least 0")
    top = np.percentile(array, percentile) or array.max()
    return np.minimum(array / np.float32(top), 1) if top > 0 else np.zeros_like(array)


def heat(values: npt.ArrayLike) -> Picture:
    """Colours for values of 0 to 1: black, red, orange, white, of evenly rising lightness. (...) -> (..., 3)."""
    return _colours(np.clip(np.asarray(values, np.float32), 0, 1), _HEAT)


def diverging(values: npt.ArrayLike) -> Picture:
    """Colours for values of -1 to 1: blue, white at 0, red, evenly darker on both sides. (...) -> (..., 3)."""
    return _colours(np.asarray((np.clip(values, -1, 1) + 1) / 2, np.float32), _SIGNED)


def normalize_signed(values: npt.ArrayLike, percentile: float = 99.0) -> Floats:
    """The values divided by the `percentile` of their sizes, see normalize, and cut off at -1 and 1."""
    array = np.asarray(values, np.float32)
    return np.asarray(np.copysign(normalize(np.abs(array), percentile), array), np.float32)


def _colours(array: Floats, table: Floats) -> Picture:
    stops = np.linspace(0, 1, len(table))
    return _uint8(np.stack([np.interp(array, stops, table[:, c]) for c in range(3)], axis=-1))


def smooth(values: npt.ArrayLike, sigma: float) -> Floats:
    """A map (height, width) averaged with a Gaussian of `sigma` pixels; beyond the edges counts for nothing."""
    array = np.asarray(values, np.float32)
    for _ in range(2):  # rows, then columns; the second turn swaps the axes back
        distance = np.subtract.outer(np.arange(len(array)), np.arange(len(array)))
        weights = np.exp(-0.5 * (distance / sigma) ** 2)
        array = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32) @ array
        array = array.T
    return array


def overlay(picture: Picture, values: Floats, *, signed: bool = False) -> Picture:
    """The picture in grey, under the colours of `values` (height, width; 0 to 1, or -1 to 1 if signed).

    The further from 0, the more opaque.
    """
    if picture.shape[:2] != values.shape:
        raise ArgumentError(
            f"overlay: the picture is {picture.shape[:2]} (height, width), the map {values.shape}; resize one of them"
        )
    grey = _DIMMED * (picture @ _LUMINANCE)[:, :, np.newaxis]
    opacity = _OPACITY * np.clip(np.abs(values) if signed else values, 0, 1)[:, :, np.newaxis]
    colours = diverging(np.sign(values)) if signed else heat(values)
    return _uint8(grey * (1 - opacity) + colours * opacity)


def to_picture(image: npt.ArrayLike) -> Picture:
    """A float image of 0 to 1 as load_image gives it: (height, width), (height, width, 1) or (height, width, 3)."""
    array = np.asarray(image, np.float32)
    array = array[:, :, np.newaxis] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise ArgumentError(f"to_picture: expected (height, width, 1 or 3), got shape {array.shape}")
    return _uint8(np.broadcast_to(255 * array, (*array.shape[:2], 3)))


def resize(array: npt.NDArray[Any], size: tuple[int, int], how: Literal["linear", "nearest"] = "linear") -> Any:
    """A picture, or a map (height, width) of floats, at size = (height, width)."""
    from PIL import Image

    method = Image.Resampling.BILINEAR if how == "linear" else Image.Resampling.NEAREST
    source = np.ascontiguousarray(array if array.dtype == np.uint8 else array.astype(np.float32))
    return np.array(Image.fromarray(source).resize((size[1], size[0]), method))


def triptych(
    picture: Picture, saliency: Floats, captions: tuple[str, str, str] = ("", "", ""), *, longest: int = 480
) -> list[Panel]:
    """The picture, its saliency map (height, width) and both laid over each other, the map smoothed for that.

    All are of the picture's proportions, the longer side `longest` pixels; pixels of tiny pictures stay squares.
    """
    return [
        Panel(enlarged(picture, longest), captions[0]),
        Panel(drawn(saliency, picture.shape[:2], longest), captions[1]),
        Panel(laid_over(picture, saliency, longest), captions[2]),
    ]


def enlarged(picture: Picture, longest: int) -> Picture:
    """The picture with a longer side of `longest` pixels; pixels of tiny pictures stay squares."""
    size, how = _fitted(picture.shape[:2], longest)
    found: Picture = resize(picture, size, how)
    return found


def drawn(values: Floats, proportions: tuple[int, ...], longest: int, *, signed: bool = False) -> Picture:
    """A map in colours, of the `proportions` (height, width) of its picture, the longer side `longest` pixels."""
    size, how = _fitted(proportions, longest)
    scaled = resize(normalize_signed(values) if signed else normalize(values), size, how)
    return diverging(scaled) if signed else heat(scaled)


def glaze(values: Floats, proportions: tuple[int, ...], longest: int, *, signed: bool = False) -> Picture:
    """A map as `drawn`, to be laid over its picture: RGBA, the further from 0, the more opaque."""
    size, how = _fitted(proportions, longest)
    scaled = resize(normalize_signed(values) if signed else normalize(values), size, how)
    colours = diverging(np.sign(scaled)) if signed else heat(scaled)
    return np.dstack([colours, _uint8(255 * np.abs(scaled))])


def laid_over(picture: Picture, values: Floats, longest: int, *, signed: bool = False) -> Picture:
    """A map, smoothed, over its picture, the longer side `longest` pixels."""
    size, how = _fitted(picture.shape[:2], longest)
    soft = smooth(values, max(_SMOOTH * max(values.shape), _LEAST))
    scaled = resize(normalize_signed(soft) if signed else normalize(soft), size, how)
    return overlay(enlarged(picture, longest), scaled, signed=signed)


def _fitted(proportions: tuple[int, ...], longest: int) -> tuple[tuple[int, int], Literal["linear", "nearest"]]:
    height, width = proportions
    factor = longest / max(height, width)
    size = max(1, round(height * factor)), max(1, round(width * factor))
    return size, "nearest" if factor >= 4 else "linear"


def grid(rows: Sequence[Sequence[Panel]], *, text_size: int = 15, gap: int = 10) -> Picture:
    """Rows of panels on white, each with its caption under it; a caption too long for its panel ends in an ellipsis.

    Columns are as wide as their widest panel, rows as high as their highest.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not rows or not all(rows):
        raise ArgumentError("grid: give at least one row, and at least one panel in each")
    font = ImageFont.load_default(text_size)
    line = text_size + text_size // 2
    widths = [max(row[i].picture.shape[1] for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    heights = [max(panel.picture.shape[0] for panel in row) for row in rows]
    size = sum(widths) + gap * (len(widths) + 1), sum(heights) + line * len(rows) + gap * (len(rows) + 1)
    canvas = Image.new("RGB", size, (_BACKGROUND,) * 3)
    draw = ImageDraw.Draw(canvas)
    y = gap
    for row, height in zip(rows, heights, strict=True):
        x = gap
        for panel, width in zip(row, widths, strict=False):
            canvas.paste(Image.fromarray(panel.picture), (x, y))
            caption = _shortened(panel.caption, lambda text: draw.textlength(text, font), width)
            draw.text((x, y + height + text_size // 6), caption, fill=(_INK,) * 3, font=font)
            x += width + gap
        y += height + line + gap
    return np.array(canvas)


def png(picture: Picture) -> bytes:
    """The picture as the bytes of a PNG file, for notebooks."""
    from PIL import Image

    stream = bytes_io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def save(picture: Picture, path: str | PathLike[str]) -> None:
    """Write the picture; the file's suffix says the format.

    Raises ArgumentError for a suffix Pillow cannot write, MissingFileError where it cannot be written; a file that
    was there stays then.
    """
    from PIL import Image

    suffix, stream = splitext(path)[1].lower(), bytes_io.BytesIO()
    try:
        Image.fromarray(picture).save(stream, Image.registered_extensions()[suffix])
    except (KeyError, ValueError, OSError) as error:
        raise ArgumentError(
            f"cannot write {str(path)!r} (unknown file extension: {suffix}); give it the suffix .png or .jpg"
        ) from error
    try:
        with replacing(path) as beside, open(beside, "wb") as file:
            file.write(stream.getvalue())
    except CaffeError as error:
        raise MissingFileError(f"cannot write {str(path)!r}: {error}") from error


def _shortened(text: str, length: Any, width: int) -> str:
    if length(text) <= width:
        return text
    while text and length(text + "...") > width:
        text = text[:-1]
    return text.rstrip(" ,") + "..."


def _uint8(values: npt.NDArray[Any]) -> Picture:
    picture: Picture = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return picture
