"""From a picture to a net's input."""

from pathlib import Path

import numpy as np
import pytest

from caffepy import io
from caffepy.errors import ArgumentError, MissingFileError, ProtoError
from caffepy.saliency.preprocess import Preprocess, read_mean

SHAPE = (3, 4, 5)


def rgb(height: int = 4, width: int = 5) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, 3)).astype(np.float32)


def test_colour_goes_in_as_bgr_minus_the_mean() -> None:
    image = rgb()
    data = Preprocess(255, np.array([104, 117, 123], np.float32)).apply(image, SHAPE)
    assert (data.shape, data.dtype) == ((1, 3, 4, 5), np.float32)
    for channel, (source, mean) in enumerate(((2, 104), (1, 117), (0, 123))):
        np.testing.assert_allclose(data[0, channel], 255 * image[:, :, source] - mean, atol=1e-4)


def test_a_gray_net_gets_the_luminance() -> None:
    image = rgb()
    data = Preprocess(1.0).apply(image, (1, 4, 5))
    red, green, blue = image.transpose(2, 0, 1)
    np.testing.assert_allclose(data[0, 0], 0.2125 * red + 0.7154 * green + 0.0721 * blue, atol=1e-6)


def test_a_gray_picture_goes_into_every_channel() -> None:
    data = Preprocess(1.0).apply(rgb()[:, :, :1], SHAPE)
    np.testing.assert_allclose(data[0], np.repeat(data[0, :1], 3, axis=0))


def test_the_picture_is_resized() -> None:
    image = rgb(9, 20)
    data = Preprocess(1.0).apply(image, SHAPE)
    np.testing.assert_allclose(data[0], io.resize_image(image, (4, 5)).transpose(2, 0, 1)[::-1])


@pytest.mark.parametrize("shape", [(2, 4, 5), (4, 5)])
def test_inputs_that_are_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="expected 1 or 3 channels, height and width"):
        Preprocess().apply(rgb(), shape)


@pytest.mark.parametrize(
    ("shape", "scale", "mean", "text"),
    [
        (SHAPE, 255.0, np.array([104, 117.5, 123]), "3x4x5, BGR, scale 255, mean 104,117.5,123"),
        (SHAPE, 255.0, np.zeros(SHAPE), "3x4x5, BGR, scale 255, mean image 3x4x5"),
        ((1, 8, 8), 1.0, None, "1x8x8, gray, scale 1, no mean"),
    ],
)
def test_describe(shape: tuple[int, ...], scale: float, mean: np.ndarray | None, text: str) -> None:
    assert Preprocess(scale, mean).describe(shape) == text


def test_means_as_numbers() -> None:
    np.testing.assert_array_equal(read_mean("104, 117.5,-3", SHAPE), np.float32([104, 117.5, -3]))
    np.testing.assert_array_equal(read_mean("33", (1, 4, 5)), np.float32([33]))


def test_mean_files(tmp_path: Path) -> None:
    exact = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    larger = np.random.default_rng(0).random((3, 6, 6)).astype(np.float32)
    for name, mean in (("exact", exact), ("larger", larger)):
        np.save(tmp_path / f"{name}.npy", mean)
        message = io.array_to_blobproto(mean[np.newaxis])
        (tmp_path / f"{name}.binaryproto").write_bytes(message.SerializeToString())
    for suffix in (".npy", ".binaryproto"):
        np.testing.assert_allclose(read_mean(str(tmp_path / f"exact{suffix}"), SHAPE), exact, rtol=1e-6)
        averages = [larger[c].mean() for c in range(3)]
        np.testing.assert_allclose(read_mean(str(tmp_path / f"larger{suffix}"), SHAPE), averages, rtol=1e-6)


def test_a_gray_mean_image_may_lack_the_channel_axis(tmp_path: Path) -> None:
    np.save(tmp_path / "mean.npy", np.ones((4, 5)))
    assert read_mean(str(tmp_path / "mean.npy"), (1, 4, 5)).shape == (1, 4, 5)


def test_mean_errors(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"mean '1,2' has shape \(2,\); the net's input has 3 channel"):
        read_mean("1,2", SHAPE)
    with pytest.raises(ArgumentError, match=r"neither numbers \(such as 104,117,123\) nor the name of a .npy"):
        read_mean("mean.txt", SHAPE)
    for suffix in (".npy", ".binaryproto"):
        path = tmp_path / f"mean{suffix}"
        with pytest.raises(MissingFileError, match=r"cannot be opened .No such file"):
            read_mean(str(path), SHAPE)
        path.write_bytes(b"\x0a\xff")
        with pytest.raises(ProtoError, match=f"no whole {suffix} file"):
            read_mean(str(path), SHAPE)


def test_a_mean_file_of_another_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "mean.npy", np.ones((4, 5)))
    with pytest.raises(ArgumentError, match=r"has shape \(4, 5\); the net's input has 3 channel"):
        read_mean(str(tmp_path / "mean.npy"), SHAPE)
