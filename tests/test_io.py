"""caffe.io against numbers of real pycaffe (tests/golden/io) and against slow definitions."""

import io as streams
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from caffepy import io
from caffepy.errors import ArgumentError, CaffeError, MissingFileError
from caffepy.limits import Limits, applied
from caffepy.proto import caffe_pb2
from tests.shared import shared

GOLDEN = np.load(Path(__file__).parent / "golden" / "io" / "io.npz")
RANDOM = np.random.default_rng(7)


def picture(*shape: int) -> np.ndarray:
    return RANDOM.random(shape, dtype=np.float32)


# --- resize_image ------------------------------------------------------------------------------------------------


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


# --- oversample --------------------------------------------------------------------------------------------------


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


# --- Transformer -------------------------------------------------------------------------------------------------


def imagenet(height: int = 227, width: int = 227) -> io.Transformer:
    transformer = io.Transformer({"data": (1, 3, height, width)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array([104, 117, 123]))
    return transformer


def test_a_photograph_is_preprocessed_to_pycaffes_numbers() -> None:
    data = imagenet().preprocess("data", io.load_image(shared("images/cat.jpg")))
    np.testing.assert_allclose(data[:, :8, :8], GOLDEN["cat/preprocessed_first8x8"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(data[:, ::8, ::8], GOLDEN["cat/preprocessed_sub"], rtol=0, atol=1e-4)
    np.testing.assert_allclose([data.mean(), data.std(), data.min(), data.max()], GOLDEN["cat/stats"], atol=1e-4)


def test_preprocess_is_its_formula_and_leaves_the_picture_alone() -> None:
    transformer, image = imagenet(6, 5), picture(6, 5, 3)
    transformer.set_input_scale("data", 0.5)
    before = image.copy()
    data = transformer.preprocess("data", image)
    for (channel, y, x), value in np.ndenumerate(data):
        wanted = (float(image[y, x, 2 - channel]) * 255 - (104, 117, 123)[channel]) * 0.5
        assert value == pytest.approx(wanted, rel=1e-5, abs=1e-4)
    np.testing.assert_array_equal(image, before)
    assert data.dtype == np.float32


def test_preprocess_copies_where_nothing_is_set() -> None:
    image = picture(4, 4, 3)
    data = io.Transformer({"data": [1, 3, 4, 4]}).preprocess("data", image)
    np.testing.assert_array_equal(data, image)
    assert not np.shares_memory(data, image)


def test_deprocess_undoes_preprocess() -> None:
    transformer, image = imagenet(6, 5), picture(6, 5, 3)
    transformer.set_input_scale("data", 0.5)
    data = transformer.preprocess("data", image)
    np.testing.assert_allclose(transformer.deprocess("data", data), image, atol=1e-6)
    np.testing.assert_allclose(transformer.deprocess("data", data[np.newaxis]), image, atol=1e-6)


@pytest.mark.parametrize("swap", [(2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("transpose", [(2, 0, 1), (2, 1, 0)])
def test_deprocess_inverts_any_order(transpose: tuple[int, ...], swap: tuple[int, ...]) -> None:
    transformer = io.Transformer({"data": (1, 3, 4, 4)})
    transformer.set_transpose("data", transpose)
    transformer.set_channel_swap("data", swap)
    image = picture(4, 4, 3)
    np.testing.assert_array_equal(transformer.deprocess("data", transformer.preprocess("data", image)), image)


def test_grey_pictures_come_back() -> None:
    transformer = io.Transformer({"data": (1, 1, 28, 28)})
    assert transformer.deprocess("data", np.zeros((1, 1, 28, 28))).shape == (28, 28)
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", np.array([0.5]))
    image = picture(28, 28, 1)
    back = transformer.deprocess("data", transformer.preprocess("data", image)[np.newaxis])
    np.testing.assert_allclose(back, image, atol=1e-6)


def test_a_grey_channel_may_be_repeated() -> None:
    transformer = io.Transformer({"data": (1, 3, 4, 4)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (0, 0, 0))
    image = picture(4, 4, 1)
    np.testing.assert_array_equal(transformer.preprocess("data", image), np.stack([image[:, :, 0]] * 3))


@pytest.mark.parametrize("shape", [(3,), (3, 6, 5)])
def test_mean_shapes(shape: tuple[int, ...]) -> None:
    mean, image = picture(*shape), picture(6, 5, 3)
    transformer = io.Transformer({"data": (1, 3, 6, 5)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", mean)
    wanted = image.transpose(2, 0, 1) - (mean if mean.ndim == 3 else mean[:, None, None])
    np.testing.assert_allclose(transformer.preprocess("data", image), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.preprocess("image", picture(4, 4, 3)), r"'image' is not one of .* they are \['data'\]"),
        (lambda t: t.set_raw_scale("image", 255), r"'image' is not one of"),
        (lambda t: t.set_transpose("data", (2, 0)), r"set_transpose: \(2, 0\) does not order the 3 axes"),
        (lambda t: t.set_transpose("data", (2, 0, 0)), r"give each of 0 to 2 once"),
        (lambda t: t.set_channel_swap("data", (1, 0)), r"\(1, 0\) does not order the 3 channels of input 'data'"),
        (lambda t: t.set_channel_swap("data", (3, 1, 0)), r"give 3 numbers of 0 to 2"),
        (lambda t: t.preprocess("data", picture(227, 227)), r"shape \(227, 227\), its transpose \(2, 0, 1\) needs 3"),
        (lambda t: t.preprocess("data", picture(227, 227, 1)), r"the array to swap is of shape \(1, 227, 227\)"),
        (lambda t: t.deprocess("data", np.zeros((2, 3, 227, 227))), r"shape \(2, 3, 227, 227\)"),
    ],
)
def test_transformer_errors_are_pycaffes_exceptions(call: Callable[[io.Transformer], object], message: str) -> None:
    with pytest.raises(CaffeError, match=message):  # pycaffe raises a bare Exception
        call(imagenet())


def test_a_mean_of_another_size_is_resized() -> None:
    mean = np.random.default_rng(0).uniform(90, 130, (3, 256, 256))
    transformer = imagenet()
    transformer.set_mean("data", mean)
    low, high = mean.min(), mean.max()
    scaled = ((mean - low) / (high - low)).transpose(1, 2, 0)
    expected = io.resize_image(scaled, (227, 227)).transpose(2, 0, 1) * (high - low) + low
    np.testing.assert_allclose(transformer.mean["data"], expected, rtol=1e-5)
    transformer.set_mean("data", np.full((3, 256, 256), 7.0))  # where pycaffe divides 0 by 0
    assert (transformer.mean["data"] == 7).all()
    grey = io.Transformer({"data": (1, 1, 4, 6)})
    grey.set_mean("data", np.full((8, 8), 5.0))
    assert grey.mean["data"].shape == (1, 4, 6)
    transformer.set_mean("data", np.full((1, 256, 256), 7.0))
    assert transformer.mean["data"].shape == (1, 227, 227)


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 1, 1), (3, 1, 227), (3, 227, 1)])
def test_a_mean_with_axes_of_length_1_stands_for_all(shape: tuple[int, ...]) -> None:
    mean = np.random.default_rng(0).uniform(90, 130, shape).astype(np.float32)
    transformer = imagenet()
    transformer.set_mean("data", mean)
    picture = np.random.default_rng(1).random((227, 227, 3), np.float32)
    without = imagenet()
    without.mean.clear()
    expected = without.preprocess("data", picture) - mean
    np.testing.assert_allclose(transformer.preprocess("data", picture), expected, atol=1e-4)


def test_pycaffes_sentences() -> None:
    transformer = imagenet()
    for call, sentence in [
        (lambda: transformer.set_mean("data", np.zeros(4)), "Mean channels incompatible with input."),
        (lambda: transformer.set_mean("data", np.zeros((1, 3, 2, 2))), "Mean shape invalid"),
        (lambda: transformer.set_transpose("data", (0, 1)), "Transpose order needs to have the same number of "),
        (lambda: transformer.set_channel_swap("data", (0, 1)), "Channel swap needs to have the same number of "),
        (lambda: transformer.set_raw_scale("x", 2), "x is not one of the net inputs: "),
        (lambda: io.array_to_datum(np.zeros((2, 2))), "Incorrect array shape."),
    ]:
        with pytest.raises(Exception, match=r"give|expected|inputs: they are") as caught:
            call()
        assert str(caught.value).startswith(sentence)
        assert len(caught.value.__notes__) == 1


@pytest.mark.parametrize("shape", [(1,), (4,), (4, 256, 256), (3, 0, 256), (227, 227), (1, 3, 227, 227), ()])
def test_a_mean_that_does_not_fit_is_a_value_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"set_mean: the mean's shape is .*, one item of input 'data' is \(3, 227, 227\)"
    ):
        imagenet().set_mean("data", np.zeros(shape))


def test_a_mean_for_channels_first_refuses_channels_last() -> None:
    transformer = io.Transformer({"data": (1, 3, 4, 4)})
    transformer.set_mean("data", np.zeros(3))
    with pytest.raises(ArgumentError, match=r"mean of input 'data' is of shape \(3, 1, 1\).* set_transpose"):
        transformer.preprocess("data", picture(4, 4, 3))


# --- load_image --------------------------------------------------------------------------------------------------

BYTES = RANDOM.integers(0, 256, (6, 5, 4)).astype(np.uint8)
WIDE = RANDOM.integers(0, 65536, (6, 5)).astype(np.uint16)
RGB, GREY = BYTES[:, :, :3].copy(), BYTES[:, :, 0].copy()


@pytest.mark.parametrize(
    ("saved", "name", "wanted"),
    [
        (Image.fromarray(RGB), "rgb.png", RGB / 255),
        (Image.fromarray(RGB), "rgb.bmp", RGB / 255),
        (Image.fromarray(BYTES), "rgba.png", RGB / 255),
        (Image.fromarray(GREY), "grey.png", GREY / 255),
        (Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(BYTES[:, :, 3].copy())]), "la.png", GREY / 255),
        (Image.fromarray(GREY > 99), "bits.png", GREY > 99),
        (Image.fromarray(WIDE), "wide.png", WIDE / 65535),
        (Image.fromarray(WIDE), "wide.tif", WIDE / 65535),
        (Image.fromarray(WIDE.astype(np.float32)), "float.tif", WIDE),
        (Image.fromarray(WIDE.astype(np.int32) << 15), "int.tif", WIDE * 2.0**15 / (2**31 - 1)),
        (Image.fromarray(RGB).quantize(40), "palette.png", RGB / 255),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_load_image_by_mode(saved: Image.Image, name: str, wanted: np.ndarray, tmp_path: Path) -> None:
    saved.save(tmp_path / name)
    color, plain = io.load_image(tmp_path / name), io.load_image(str(tmp_path / name), color=False)
    wanted = wanted[:, :, np.newaxis] if wanted.ndim == 2 else wanted
    assert color.dtype == plain.dtype == np.float32
    if wanted.shape[2] == 1:
        wanted = np.repeat(wanted, 3, axis=2)
    np.testing.assert_allclose(color, wanted, rtol=2e-7, atol=1e-9)
    grey = 0.2125 * wanted[:, :, :1] + 0.7154 * wanted[:, :, 1:2] + 0.0721 * wanted[:, :, 2:]
    np.testing.assert_allclose(plain, grey, rtol=1e-6, atol=1e-7)


def test_load_image_of_a_16_bit_pgm(tmp_path: Path) -> None:
    (tmp_path / "wide.pgm").write_bytes(b"P5 5 6 65535\n" + WIDE.astype(">u2").tobytes())
    np.testing.assert_allclose(io.load_image(tmp_path / "wide.pgm", color=False)[:, :, 0], WIDE / 65535, rtol=2e-7)


def test_load_image_of_a_cmyk_file(tmp_path: Path) -> None:
    cmyk = Image.fromarray(RGB).convert("CMYK")
    cmyk.save(tmp_path / "cmyk.tif")
    np.testing.assert_allclose(io.load_image(tmp_path / "cmyk.tif"), RGB / 255, atol=2 / 255)


def test_load_image_ignores_a_palettes_transparency(tmp_path: Path) -> None:
    opaque = Image.fromarray(RGB).quantize(40)
    opaque.save(tmp_path / "seethrough.png", transparency=bytes(range(40)))
    np.testing.assert_array_equal(io.load_image(tmp_path / "seethrough.png"), io.load_image(saved_png(opaque)))


def saved_png(image: Image.Image) -> streams.BytesIO:
    file = streams.BytesIO()
    image.save(file, "PNG")
    file.seek(0)
    return file


def test_load_image_does_not_apply_the_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees
    Image.fromarray(RGB).save(tmp_path / "turned.jpg", exif=exif)
    assert io.load_image(tmp_path / "turned.jpg").shape == (6, 5, 3)


def test_load_image_gives_an_animations_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (5, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(io.load_image(tmp_path / "moving.gif")[2, 2], [1, 0, 0])


def test_a_missing_picture_is_a_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(MissingFileError, match=r"load_image: cannot open '.*' \(.*\): give the path of a picture"):
            io.load_image(path)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "half.png").write_bytes(saved_png(Image.fromarray(RGB)).getvalue()[:60])
    for path in (tmp_path / "text.jpg", tmp_path / "half.png"):
        with pytest.raises(ArgumentError, match=r"is no picture Pillow can read"):
            io.load_image(path)
    with pytest.raises(ArgumentError, match="expected a path or an open binary file, found None"):
        io.load_image(None)  # type: ignore[arg-type]


# --- messages ----------------------------------------------------------------------------------------------------


def test_blobproto_round_trip() -> None:
    data, diff = picture(2, 3, 4), picture(2, 3, 4)
    blob = caffe_pb2.BlobProto.FromString(io.array_to_blobproto(data, diff).SerializeToString())
    assert list(blob.shape.dim) == [2, 3, 4]
    np.testing.assert_array_equal(io.blobproto_to_array(blob), data)
    np.testing.assert_array_equal(io.blobproto_to_array(blob, return_diff=True), diff)


def test_a_legacy_blobproto_is_four_dimensional() -> None:
    blob = caffe_pb2.BlobProto(num=1, channels=2, height=1, width=3, data=range(6))
    np.testing.assert_array_equal(io.blobproto_to_array(blob), np.arange(6.0).reshape(1, 2, 1, 3))


def test_double_data_is_read() -> None:
    blob = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[2]), double_data=[0.1, 0.2])
    np.testing.assert_array_equal(io.blobproto_to_array(blob), [0.1, 0.2])


def test_blobprotovector_round_trip() -> None:
    arrays = [picture(2, 3), picture(4)]
    back = io.blobprotovector_str_to_arraylist(io.arraylist_to_blobprotovector_str(arrays))
    for one, other in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int32])
def test_datum_round_trip(dtype: type) -> None:
    array = RANDOM.integers(0, 256, (3, 4, 5)).astype(dtype)
    datum = io.array_to_datum(array, 7)
    assert (datum.channels, datum.height, datum.width, datum.label) == (3, 4, 5, 7)
    assert bool(datum.data) == (dtype is np.uint8)
    back = io.datum_to_array(datum)
    np.testing.assert_array_equal(back, array)
    back[0] = 0  # its own memory
    assert not io.array_to_datum(array).HasField("label")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: io.array_to_datum(picture(4, 4)), r"expected \(channels, height, width\), found shape \(4, 4\)"),
        (lambda: io.datum_to_array(caffe_pb2.Datum(data=b"x", encoded=True)), r"encoded .* load_image\(io.BytesIO"),
        (lambda: io.datum_to_array(caffe_pb2.Datum(channels=1, height=2, width=2, data=b"x")), r"1 values for shape"),
        (lambda: io.array_to_blobproto(picture(2), picture(3)), r"the diff's shape is \(3,\), the data's \(2,\)"),
        (
            lambda: io.blobproto_to_array(caffe_pb2.BlobProto(num=2, data=[1])),
            r"shape \(2, 0, 0, 0\), which is 0 values, and 1 are stored",
        ),
        (lambda: io.blobproto_to_array(io.array_to_blobproto([1]), True), r"holds no diff: leave return_diff out"),
    ],
)
def test_messages_that_do_not_fit_are_value_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"DDS " + bytes(200), b"icns" + bytes(60)]
)
def test_only_common_formats_reach_a_decoder(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "picture.png").write_bytes(content)
    with pytest.raises(CaffeError, match="give a whole PNG, JPEG, BMP, GIF, PNM, TIFF or WebP"):
        io.load_image(tmp_path / "picture.png")


def test_a_pipe_is_no_picture_and_the_number_of_pixels_is_limited(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(MissingFileError, match="is no regular file but a pipe or device"):
        io.load_image(tmp_path / "pipe.png")
    Image.new("1", (30, 20)).save(tmp_path / "large.png")
    with applied(Limits(pixels=599)), pytest.raises(CaffeError, match="30 x 20 pixels; at most 599 are read"):
        io.load_image(tmp_path / "large.png")
