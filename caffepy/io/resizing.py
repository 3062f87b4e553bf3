"""Pictures resized and cropped."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from caffepy.errors import ArgumentError
from caffepy.io.pictures import Array

_ROWS_AT_ONCE = 32  # of a sampling matrix, per product: few enough to skip its zeros, enough for BLAS


def resize_image(
    im: npt.ArrayLike, new_dims: Sequence[int], interp_order: int = 1, *, anti_aliasing: bool = True
) -> Array:
    """The (height, width, channels) picture at new_dims = (height, width), float32.

    interp_order: 0 nearest, 1 linear, 2 to 5 splines (these need SciPy).
    As in pycaffe's io.py, one or three channels are sampled as scikit-image does: pixel centres at half integers,
    the picture's minimum beyond its edges, and before an axis shrinks by f a Gaussian of deviation (f - 1) / 2 along
    it (scikit-image before 0.15 had none: anti_aliasing=False). Any other number of channels is sampled as
    scipy.ndimage.zoom does: corner pixels at the corners, no Gaussian.
    """
    image = np.asarray(im)
    if image.dtype.kind in "US":
        raise ArgumentError(f"resize_image: expected a picture, found {im!r}: give load_image({im!r})")
    if image.ndim != 3 or 0 in image.shape:
        raise ArgumentError(
            f"resize_image: expected a (height, width, channels) picture, found shape {image.shape}: "
            f"give a grey one a channel axis, im[:, :, np.newaxis]"
        )
    if len(new_dims) != 2 or any(size != int(size) or size < 1 for size in new_dims):
        raise ArgumentError(
            f"resize_image: new_dims is {tuple(new_dims)}, expected (height, width), whole and positive"
        )
    if interp_order not in range(6):
        raise ArgumentError(f"resize_image: interp_order is {interp_order!r}, expected 0, 1, 2, 3, 4 or 5")
    image = image.astype(np.result_type(image, np.float32))
    size = (int(new_dims[0]), int(new_dims[1]))
    corners = image.shape[2] not in (1, 3)
    if interp_order > 1:
        return _resize_spline(image, size, interp_order, corners, anti_aliasing).astype(np.float32)
    background = image.dtype.type(0) if corners else image.min()
    resized = image - background
    for source, target in zip(image.shape, size, strict=False):
        shrink = source / target if anti_aliasing and not corners else 1.0
        sigma = max(0.0, (shrink - 1) / 2)
        resized = _resample(resized, target, interp_order, corners, sigma).swapaxes(0, 1)  # twice: as they were
    resized += background
    return np.ascontiguousarray(resized, dtype=np.float32)


def _resample(image: Array, target: int, order: int, corners: bool, sigma: float) -> Array:
    """The image with `target` rows: sampling matrix @ image, a few rows at a time to skip the matrix's zeros."""
    columns = image.reshape(image.shape[0], -1)
    result = np.empty((target, columns.shape[1]), dtype=image.dtype)
    for start in range(0, target, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, target))
        matrix = _sampling_matrix(rows, image.shape[0], target, order, corners, sigma).astype(image.dtype)
        used = np.flatnonzero(matrix.any(axis=0))
        band = slice(used[0], used[-1] + 1)
        np.matmul(matrix[:, band], columns[band], out=result[rows[0] : rows[-1] + 1])
    return result.reshape(target, *image.shape[1:])


def _sampling_matrix(rows: Array, source: int, target: int, order: int, corners: bool, sigma: float) -> Array:
    """(len(rows), source) weights that make these of `target` rows: a Gaussian, then the order's interpolation."""
    if corners:
        position = rows * ((source - 1) / max(target - 1, 1))
    else:
        position = (rows + 0.5) * (source / target) - 0.5
    first = np.floor(position + 0.5 if order == 0 else position).astype(np.intp)
    fraction = position - first if order else np.zeros(len(rows))
    radius = int(4 * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-15)) ** 2)
    taps /= taps.sum()
    matrix = np.zeros((len(rows), source + 2 * radius + 3))  # with the columns beyond both edges
    row = np.arange(len(rows))
    for offset, tap in enumerate(taps):
        matrix[row, first + 1 + offset] += tap * (1 - fraction)
        matrix[row, first + 2 + offset] += tap * fraction
    return matrix[:, radius + 1 : radius + 1 + source]


def _resize_spline(image: Array, size: tuple[int, int], order: int, corners: bool, anti_aliasing: bool) -> Array:
    try:
        from scipy import ndimage
    except ImportError:
        raise ArgumentError(
            f"resize_image: interp_order {order} needs SciPy: pip install scipy, or give interp_order 0 or 1"
        ) from None
    factors = np.array(image.shape[:2]) / size
    zoom = (*(1 / factors), 1)
    if corners:
        return np.asarray(ndimage.zoom(image, zoom, order=order, mode="mirror"))
    background = image.min()
    smooth = image - background
    if anti_aliasing:
        smooth = ndimage.gaussian_filter(smooth, (*np.maximum(0, (factors - 1) / 2), 0), mode="constant")
    resized = ndimage.zoom(smooth, zoom, order=order, mode="grid-constant", grid_mode=True)
    return np.asarray(np.clip(resized + background, background, image.max()))


def oversample(images: Iterable[npt.ArrayLike], crop_dims: Sequence[int]) -> Array:
    """(10 * N, height, width, channels) float32: of each picture four corner crops and the centre, then their mirrors.

    Raises ArgumentError for a picture smaller than crop_dims = (height, width).
    """
    height, width = (int(size) for size in crop_dims)
    crops = []
    for image in images:
        pixels = np.asarray(image, dtype=np.float32)
        if pixels.ndim != 3 or pixels.shape[0] < height or pixels.shape[1] < width:
            raise ArgumentError(
                f"oversample: expected pictures (height, width, channels) of at least {height} x {width}, "
                f"found shape {pixels.shape}: resize it first, or crop less"
            )
        below, right = pixels.shape[0] - height, pixels.shape[1] - width
        corners = [(0, 0), (0, right), (below, 0), (below, right), (below // 2, right // 2)]
        five = [pixels[top : top + height, left : left + width] for top, left in corners]
        crops += five + [crop[:, ::-1] for crop in five]
    if not crops:
        raise ArgumentError("oversample: no pictures given; expected a list of (height, width, channels)")
    return np.stack(crops)
