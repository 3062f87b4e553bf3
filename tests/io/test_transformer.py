"""Transformer against numbers of real pycaffe (tests/golden/io) and against its formula."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from caffepy import io
from caffepy.errors import ArgumentError, CaffeError
from tests.io.numbers import GOLDEN, picture
from tests.shared import shared


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


@pytest.mark.parametrize(
    ("name", "wanted"), [("transpose", (-1, 0, 1)), ("transpose", (-1, -2, 0)), ("channel_swap", (-1, 1, 0))]
)
def test_axes_and_channels_may_be_counted_from_the_end(name: str, wanted: tuple[int, ...]) -> None:
    image, ways = picture(4, 4, 3), []
    for order in (wanted, np.array(wanted), [number % 3 for number in wanted]):
        transformer = io.Transformer({"data": (1, 3, 4, 4)})
        transformer.set_transpose("data", (2, 0, 1))
        getattr(transformer, f"set_{name}")("data", order)
        ways.append(transformer.preprocess("data", image))
        np.testing.assert_array_equal(transformer.deprocess("data", ways[-1]), image)
    np.testing.assert_array_equal(ways[0], ways[2])
    np.testing.assert_array_equal(ways[1], ways[2])
    assert not np.array_equal(ways[0], image)


def test_a_setting_of_none_is_not_done() -> None:
    transformer = io.Transformer({"data": (1, 3, 4, 4)})
    transformer.set_raw_scale("data", None)  # type: ignore[arg-type]
    transformer.set_input_scale("data", None)  # type: ignore[arg-type]
    transformer.mean["data"] = transformer.transpose["data"] = transformer.channel_swap["data"] = None  # type: ignore[assignment]
    image = picture(4, 4, 3)
    np.testing.assert_array_equal(transformer.preprocess("data", image), image)
    np.testing.assert_array_equal(transformer.deprocess("data", image), image)


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda t: t.set_mean("data", "mean.npy"), r"found 'mean.npy': give what the file holds, np.load\(file\)"),
        (lambda t: t.set_mean("data", None), "expected an array, found None"),
        (lambda t: t.set_mean("data", np.zeros((1, 3, 4, 4))), r"here mean\[0\]"),
        (lambda t: t.set_transpose("data", None), "None does not order the 3 axes"),
        (lambda t: t.set_transpose("data", (-4, 0, 1)), "does not order the 3 axes"),
        (lambda t: t.set_channel_swap("data", "BGR"), "BGR does not order the 3 channels"),
        (lambda t: t.set_channel_swap("data", (2.0, 1.0, 0.0)), "does not order the 3 channels"),
    ],
)
def test_what_is_no_array_or_order_is_refused_with_the_way_out(
    call: Callable[[io.Transformer], object], advice: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        call(imagenet())
    assert re.search(advice, caught.value.__notes__[0])
