"""resize_image and oversample against numbers of real pycaffe (tests/golden/io) and against slow definitions."""

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from caffepy import io
from caffepy.errors import ArgumentError
from tests.io.numbers import GOLDEN, RANDOM, picture
from tests.shared import shared


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(
    ("case", "size", "step"), [(0, (7, 9), 1), (1, (16, 20), 1), (2, (227, 227), 7), (3, (24, 24), 1), (4, (11, 13), 1)]
)
def test_resize_gives_pycaffes_numbers(case: int, size: tuple[int, int], step: int, order: int) -> None:
    source = GOLDEN[f"c{case}/in"]
    resized = io.resize_image(source, size, interp_order=order)
    assert resized.shape == (*size, source.shape[2])
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized[::step, ::step], GOLDEN[f"c{case}/order{order}"], rtol=0, atol=5e-7)


def test_all_of_the_shared_resize_numbers() -> None:
    numbers = np.load(shared("golden/io/io.npz"))
    for key in (name for name in numbers.files if "/order" in name):
        order, source = int(key[-1]), numbers[key[:3] + "in"]
        resized = io.resize_image(source, numbers[key].shape[:2], order)
        np.testing.assert_allclose(resized, numbers[key], rtol=0, atol=5e-7, err_msg=key)


def linear_by_definition(image: np.ndarray, size: tuple[int, int], smooth: bool) -> np.ndarray:
    """Pixel by pixel: a truncated Gaussian, then linear interpolation at pixel centres; the minimum lies outside."""

    def at(array: np.ndarray, y: int, x: int) -> Any:
        return array[y, x] if 0 <= y < array.shape[0] and 0 <= x < array.shape[1] else image.min()

    def gauss(array: np.ndarray, axis: int) -> np.ndarray:
        sigma = (array.shape[axis] / size[axis] - 1) / 2
        if not smooth or sigma <= 0:
            return array
        radius = int(4 * sigma + 0.5)
        weights = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-radius, radius + 1)]
        result = np.zeros_like(array)
        for y, x in np.ndindex(*array.shape[:2]):
            for weight, k in zip(weights, range(-radius, radius + 1), strict=True):
                result[y, x] += weight / sum(weights) * at(array, y + k * (axis == 0), x + k * (axis == 1))
        return result

    soft = gauss(gauss(image.astype(float), 0), 1)
    result = np.zeros((*size, image.shape[2]))
    for i, j in np.ndindex(*size):
        y, x = (i + 0.5) * image.shape[0] / size[0] - 0.5, (j + 0.5) * image.shape[1] / size[1] - 0.5
        top, left = math.floor(y), math.floor(x)
        for dy, dx in np.ndindex(2, 2):
            weight = (1 - abs(y - top - dy)) * (1 - abs(x - left - dx))
            result[i, j] += weight * at(soft, top + dy, left + dx)
    return result


@pytest.mark.parametrize("size", [(4, 5), (11, 7), (5, 12), (1, 1), (14, 3)])
@pytest.mark.parametrize("smooth", [True, False])
def test_resize_agrees_with_its_definition(size: tuple[int, int], smooth: bool) -> None:
    image = picture(9, 10, 3) * 7 - 3
    resized = io.resize_image(image, size, anti_aliasing=smooth)
    np.testing.assert_allclose(resized, linear_by_definition(image, size, smooth), rtol=0, atol=5e-6)


@pytest.mark.parametrize("channels", [2, 4, 7])
def test_other_channel_counts_keep_their_corners(channels: int) -> None:
    image = picture(9, 8, channels)
    resized = io.resize_image(image, (30, 17))
    for corner in np.ndindex(2, 2):
        index = (-corner[0], -corner[1])
        np.testing.assert_allclose(resized[index], image[index], atol=1e-6)


@pytest.mark.parametrize(("source", "target"), [(59, 57), (16, 227), (30, 28), (122, 28)])
def test_the_last_corner_survives_rounding(source: int, target: int) -> None:
    image = picture(source, source, 2)
    np.testing.assert_allclose(io.resize_image(image, (target, target))[-1, -1], image[-1, -1], atol=1e-6)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_constant_picture_stays_constant(channels: int, order: int) -> None:
    resized = io.resize_image(np.full((6, 5, channels), 3.5), (4, 9), order)
    np.testing.assert_allclose(resized, np.full((4, 9, channels), 3.5), rtol=1e-6)


def test_integer_pictures_resize_as_their_values() -> None:
    image = RANDOM.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    np.testing.assert_array_equal(io.resize_image(image, (8, 40)), io.resize_image(image.astype(np.float32), (8, 40)))


def test_a_spline_needs_scipy_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ArgumentError, match=r"interp_order 3 needs SciPy: pip install scipy, or give interp_order 0"):
        io.resize_image(picture(5, 5, 3), (4, 4), interp_order=3)


@pytest.mark.parametrize("channels", [3, 4])
def test_splines_reproduce_a_smooth_picture(channels: int) -> None:
    pytest.importorskip("scipy", reason="SciPy is not installed: splines not tested")
    y, x = np.mgrid[0:40, 0:40] / 39
    image = np.repeat((np.sin(3 * y) * np.cos(2 * x))[:, :, np.newaxis], channels, axis=2)
    resized = io.resize_image(image, (61, 61), interp_order=3)
    centre = (np.arange(61) + 0.5) * 40 / 61 / 39 - 0.5 / 39 if channels == 3 else np.arange(61) / 60
    wanted = np.sin(3 * centre)[:, np.newaxis] * np.cos(2 * centre)
    np.testing.assert_allclose(resized[10:-10, 10:-10, 1], wanted[10:-10, 10:-10], atol=1e-4)
    if channels == 3:  # scikit-image cuts a spline's overshoot off
        assert resized.min() >= image.min() - 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: io.resize_image("cat.jpg", (3, 3)), r"found 'cat.jpg': give load_image\('cat.jpg'\)"),
        (lambda: io.oversample([], (3, 3)), "no pictures given"),
        (lambda: io.resize_image(np.zeros((5, 5)), (3, 3)), r"found shape \(5, 5\): give a grey one a channel axis"),
        (lambda: io.resize_image(np.zeros((5, 0, 3)), (3, 3)), r"found shape \(5, 0, 3\)"),
        (
            lambda: io.resize_image(np.zeros((5, 5, 3)), (3, 3, 3)),
            r"new_dims is \(3, 3, 3\), expected \(height, width\)",
        ),
        (lambda: io.resize_image(np.zeros((5, 5, 3)), (3, 0)), r"new_dims is \(3, 0\)"),
        (lambda: io.resize_image(np.zeros((5, 5, 3)), (3, 2.5)), r"new_dims is \(3, 2.5\)"),
        (lambda: io.resize_image(np.zeros((5, 5, 3)), (3, 3), 6), r"interp_order is 6, expected 0, 1"),
        (lambda: io.oversample([np.zeros((5, 5, 3))], (6, 5)), r"at least 6 x 5, found shape \(5, 5, 3\): resize"),
    ],
)
def test_what_cannot_be_resized_is_explained(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_oversample_gives_pycaffes_crops() -> None:
    np.testing.assert_array_equal(io.oversample(GOLDEN["oversample/in"], (8, 9)), GOLDEN["oversample/out_8x9"])


@pytest.mark.parametrize("size", [(13, 10), (12, 11), (8, 9)])
def test_oversample_centre_and_mirrors(size: tuple[int, int]) -> None:
    image = picture(*size, 3)
    crops = io.oversample([image], (8, 7))
    top, left = int(size[0] / 2 - 4), int(size[1] / 2 - 3.5)
    np.testing.assert_array_equal(crops[4], image[top : top + 8, left : left + 7])
    np.testing.assert_array_equal(crops[3], image[-8:, -7:])
    np.testing.assert_array_equal(crops[5:], crops[:5, :, ::-1])
