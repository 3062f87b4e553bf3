"""caffe.Detector: windows with and without context against crops counted by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffepy as caffe
from caffepy.detector import Detector
from tests.pictures import picture, saved_net

MEAN = np.array([104.0, 117.0, 123.0])
RGB_MEAN = MEAN[::-1].astype(np.float32) / 255


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    return saved_net(tmp_path)


def detector(files: tuple[str, str], **settings: Any) -> Detector:
    return Detector(*files, mean=MEAN, raw_scale=255, channel_swap=(2, 1, 0), **settings)


@pytest.fixture
def photo(tmp_path: Path) -> str:
    Image.fromarray((picture(20, 24) * 255).astype(np.uint8)).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_windows_are_warped_to_the_input(files: tuple[str, str], photo: str) -> None:
    net = detector(files)
    windows = [np.array([2, 3, 10, 11]), (0.0, 0.0, 20.0, 24.0), [-3, 4, 5, 30]]
    found = net.detect_windows((name, each) for name, each in [(photo, windows), (photo, windows[:2])])
    assert [each["window"] is window for each, window in zip(found, windows * 2, strict=False)] == [True] * 5
    assert {each["filename"] for each in found} == {photo}
    image = caffe.io.load_image(photo)
    reference = caffe.Net(files[0], caffe.TEST, weights=files[1])
    reference.blobs["data"].reshape(1, 3, 8, 8)
    for each, part in zip(found, [image[2:10, 3:11], image, image[0:5, 4:24]], strict=False):
        warped = part if part.shape == (8, 8, 3) else caffe.io.resize_image(part, (8, 8))
        bgr = warped[:, :, ::-1].transpose(2, 0, 1) * 255 - MEAN[:, None, None]
        expected = reference.forward(data=bgr[np.newaxis].astype(np.float32))["prob"][0]
        np.testing.assert_allclose(each["prediction"], expected, rtol=1e-4, atol=1e-6)
    assert net.detect_windows([(photo, [])]) == []


@pytest.mark.parametrize(
    ("window", "into", "part"),
    [
        ((4, 5, 7, 8), (slice(0, 8), slice(0, 8)), (slice(2, 10), slice(3, 11))),
        ((0, 0, 3, 3), (slice(2, 8), slice(2, 8)), (slice(0, 6), slice(0, 6))),
        ((16, 20, 19, 23), (slice(0, 6), slice(0, 6)), (slice(14, 20), slice(18, 24))),
        ((0, 20, 3, 23), (slice(2, 8), slice(0, 6)), (slice(0, 6), slice(18, 24))),
    ],
)
def test_context(files: tuple[str, str], window: Any, into: Any, part: Any) -> None:
    """Two pixels of the input around a window of 4 x 4 make it one of 8 x 8: no warping, mean beyond the borders."""
    im = picture(20, 24)
    expected = np.tile(RGB_MEAN, (8, 8, 1))
    expected[into] = im[part]
    np.testing.assert_allclose(detector(files, context_pad=2).crop(im, window), expected, rtol=1e-6)


def test_context_of_a_warped_window(files: tuple[str, str]) -> None:
    """A window of 8 x 12 in the middle, with its context 16 x 24, shrinks to 8 x 8."""
    im = picture(60, 60)
    crop = detector(files, context_pad=2).crop(im, (20, 20, 27, 31))
    np.testing.assert_allclose(crop, caffe.io.resize_image(im[16:32, 14:38], (8, 8)), rtol=1e-6)


def test_beyond_the_picture_the_input_is_zero(files: tuple[str, str]) -> None:
    net = detector(files, context_pad=2, input_scale=0.1)
    seen = net.transformer.preprocess("data", net.crop(picture(20, 24), (0, 0, 3, 3)))
    np.testing.assert_allclose(seen[:, :2], 0, atol=1e-5)
    assert np.abs(seen[:, 2:, 2:]).min(axis=0).max() > 1


def test_grey_net(tmp_path: Path, photo: str) -> None:
    net = Detector(*saved_net(tmp_path, channels=1, height=6, width=9), context_pad=1)
    (found,) = net.detect_windows([(photo, [(5, 5, 9, 12)])])
    assert found["prediction"].shape == (5,)


def test_selective_search_is_a_hook(files: tuple[str, str], photo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = detector(files)
    monkeypatch.chdir(Path(photo).parent)
    asked = []

    def get_windows(names: list[str]) -> list[list[tuple[int, ...]]]:
        asked.extend(names)
        return [[(0, 0, 4, 4), (1, 2, 9, 9)] for _ in names]

    found = net.detect_selective_search(["photo.png"], get_windows)
    assert asked == [photo]
    assert [each["window"] for each in found] == [(0, 0, 4, 4), (1, 2, 9, 9)]
    with pytest.raises(TypeError, match="selective_search_ijcv_with_python is not there"):
        net.detect_selective_search([photo])


@pytest.mark.parametrize(
    ("context_pad", "window"),
    [
        (None, (30, 30, 40, 40)),
        (None, (4, 4, 4, 4)),
        (2, (40, 40, 50, 50)),
        (2, (-20, 2, -9, 8)),
        (None, (1, 2, 3)),
        (2, (0, 0, float("nan"), 1)),
    ],
)
def test_windows_that_are_none(files: tuple[str, str], context_pad: int | None, window: Any) -> None:
    with pytest.raises(ValueError, match="window"):
        detector(files, context_pad=context_pad).crop(picture(20, 24), window)


def test_too_much_context(files: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="context_pad is 4; expected less than half of the input's 8 x 8"):
        detector(files, context_pad=4)
