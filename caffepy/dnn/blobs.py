"""Pictures made blobs and back, and boxes thinned out, number for number as OpenCV 4 does."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy.blob import Floats
from caffepy.errors import ArgumentError
from caffepy.layers.detection.boxes import best_first, suppress

CV_8U, CV_32F = 0, 5

Array = npt.NDArray[Any]

_WEIGHT_BITS = 11  # of a resized byte's weights: INTER_RESIZE_COEF_BITS in resize.cpp


def blobFromImage(
    image: npt.ArrayLike,
    scalefactor: float = 1.0,
    size: Sequence[int] = (0, 0),
    mean: float | Sequence[float] = (0, 0, 0),
    swapRB: bool = False,
    crop: bool = False,
    ddepth: int = CV_32F,
) -> Array:
    """One picture (height, width) or (height, width, channels) as a blob (1, channels, height, width)."""
    return blobFromImages([image], scalefactor, size, mean, swapRB, crop, ddepth)


def blobFromImages(
    images: Sequence[npt.ArrayLike],
    scalefactor: float = 1.0,
    size: Sequence[int] = (0, 0),
    mean: float | Sequence[float] = (0, 0, 0),
    swapRB: bool = False,
    crop: bool = False,
    ddepth: int = CV_32F,
) -> Array:
    """The pictures as a blob (n, channels, height, width); each value (resized - mean) * scalefactor.

    size    (width, height); (0, 0) is that of the first picture. Bilinear between pixel centres, bytes to bytes.
    mean    one number per channel, in the order of the blob's channels
    swapRB  exchange channels 0 and 2
    crop    keep the aspect: resize until both sides suffice, then cut out the centre
    ddepth  CV_32F, or CV_8U for bytes as they are

    Raises ArgumentError.
    """
    pictures = [np.asarray(image) for image in images]
    if not pictures or any(p.ndim not in (2, 3) or p.size == 0 for p in pictures):
        shapes = [p.shape for p in pictures]
        raise ArgumentError(f"blobFromImages: give pictures (height, width[, channels]), one at least, got {shapes}")
    if len({p.shape[2:] for p in pictures}) > 1:
        raise ArgumentError(f"blobFromImages: all need as many channels, got shapes {[p.shape for p in pictures]}")
    if ddepth not in (CV_8U, CV_32F):
        raise ArgumentError(f"blobFromImages: ddepth is {ddepth}; give CV_32F (5) or CV_8U (0)")
    per_channel = scalar(mean)
    if ddepth == CV_8U and (scalefactor != 1 or per_channel.any() or any(p.dtype != np.uint8 for p in pictures)):
        raise ArgumentError("blobFromImages: ddepth CV_8U takes uint8 pictures, no scalefactor and no mean; use CV_32F")
    width, height = (int(extent) for extent in size)
    if width <= 0 or height <= 0:
        height, width = pictures[0].shape[:2]
    blob = np.stack([_fitted(p, height, width, crop) for p in pictures]).transpose(0, 3, 1, 2)
    if swapRB and blob.shape[1] >= 3:
        blob = blob[:, [2, 1, 0, *range(3, blob.shape[1])]]
    if ddepth == CV_8U:
        return np.ascontiguousarray(blob)
    return shifted(blob, scalefactor, per_channel)


def imagesFromBlob(blob_: npt.ArrayLike) -> tuple[Array, ...]:
    """The pictures of a blob (n, channels, height, width): (height, width, channels), or (height, width) of one."""
    blob = np.asarray(blob_)
    if blob.ndim != 4:
        raise ArgumentError(f"imagesFromBlob: expected a blob (n, channels, height, width), got shape {blob.shape}")
    images = np.ascontiguousarray(blob.transpose(0, 2, 3, 1))
    return tuple(images[..., 0] if blob.shape[1] == 1 else images)


def NMSBoxes(
    bboxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    score_threshold: float,
    nms_threshold: float,
    eta: float = 1.0,
    top_k: int = 0,
) -> Any:
    """Indices of the boxes (x, y, width, height) that stay, the best first; () where none does.

    Those that score above score_threshold, the top_k best of them if top_k is above 0, and of these none that overlaps
    a better one by more than nms_threshold (intersection over union).
    """
    boxes, given = np.asarray(bboxes, np.float32).reshape(-1, 4), np.asarray(scores, np.float32).reshape(-1)
    if len(boxes) != len(given):
        raise ArgumentError(f"NMSBoxes: {len(boxes)} boxes and {len(given)} scores; give one score for each box")
    order = best_first(given)
    order = order[given[order] > score_threshold][: top_k if top_k > 0 else None]
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    kept = order[suppress(corners[order], nms_threshold, eta=eta)]
    return kept.astype(np.int32) if len(kept) else ()


def scalar(values: float | Sequence[float]) -> Floats:
    """OpenCV's Scalar: four numbers, zeros for those not given."""
    given = np.atleast_1d(np.asarray(values, np.float32))
    if given.ndim != 1 or given.size > 4:
        raise ArgumentError(f"mean: expected at most 4 numbers, one per channel, got {values!r}")
    return np.pad(given, (0, 4 - given.size))


def shifted(blob: Array, scale: float, mean: Floats) -> Floats:
    """(blob - mean) * scale, in new memory; a mean for each of axis 1."""
    out: Floats = np.array(blob, np.float32, order="C")
    if mean.any():
        channels = out.shape[1] if out.ndim > 1 else 1
        if channels > mean.size:
            raise ArgumentError(
                f"mean: it has 4 numbers at most, but there are {channels} channels; subtract it before"
            )
        out -= mean[:channels].reshape(-1, *[1] * (out.ndim - 2))
    if scale != 1:
        out *= np.float32(scale)
    return out


def _fitted(image: Array, height: int, width: int, crop: bool) -> Array:
    """The picture as (height, width, channels)."""
    image = image if image.ndim == 3 else image[:, :, np.newaxis]
    if image.shape[:2] == (height, width):
        return image
    if not crop:
        return _resized(image, height, width, (image.shape[0] / height, image.shape[1] / width))
    factor = float(max(np.float32(width) / np.float32(image.shape[1]), np.float32(height) / np.float32(image.shape[0])))
    large = [round(extent * factor) for extent in image.shape[:2]]
    whole = _resized(image, large[0], large[1], (1 / factor, 1 / factor))
    top, left = int(0.5 * (large[0] - height)), int(0.5 * (large[1] - width))
    return whole[top : top + height, left : left + width]


def _resized(image: Array, height: int, width: int, steps: tuple[float, float]) -> Array:
    """cv2.resize with INTER_LINEAR: bytes with the fixed-point weights of its resize.cpp, other types as float32."""
    bytes_ = bool(image.dtype == np.uint8)
    rows, below, down = _line(height, image.shape[0], steps[0], bytes_)
    columns, right, along = _line(width, image.shape[1], steps[1], bytes_)
    inside = (columns >= 0) & (columns < image.shape[1] - 1)
    along = np.where(inside, along, np.float32(0))
    columns, rows = columns.clip(0, image.shape[1] - 1), rows.clip(0, image.shape[0] - 1)
    down, along = down[:, np.newaxis, np.newaxis], along[:, np.newaxis]
    if not bytes_:
        values = image.astype(np.float32)
        across = values[:, columns] * (1 - along) + values[:, right] * along
        return np.asarray(across[rows] * (1 - down) + across[below] * down)
    pixels: npt.NDArray[np.int32] = image.astype(np.int32)
    whole = (pixels[:, columns] * _fixed(1 - along) + pixels[:, right] * _fixed(along)) >> 4
    mixed = (_fixed(1 - down) * whole[rows] >> 16) + (_fixed(down) * whole[below] >> 16)
    return ((mixed + 2) >> 2).astype(np.uint8)


def _fixed(part: Floats) -> npt.NDArray[np.int32]:
    return np.rint(part * (1 << _WEIGHT_BITS)).astype(np.int32)


def _line(resized: int, extent: int, step: float, bytes_: bool) -> tuple[Array, Array, Floats]:
    """Where each new place stands: the old one before it, perhaps outside, the one after, inside, and its weight."""
    at = (np.arange(resized) + 0.5) * step - 0.5
    at = at.astype(np.float32) if bytes_ else at
    before = np.floor(at).astype(np.intp)
    return before, (before + 1).clip(0, extent - 1), (at - before).astype(np.float32)
