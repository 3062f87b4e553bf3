"""caffe.Classifier against preprocessing and crops done by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy import zoo
from caffepy.classifier import Classifier
from tests.pictures import picture, saved_net

MEAN = np.array([104.0, 117.0, 123.0])


def by_hand(net: caffe.Net, crops: list[np.ndarray]) -> np.ndarray:
    """The net's output for RGB crops of 0 to 1, each by itself: BGR, * 255, - mean."""
    rows = []
    for crop in crops:
        bgr = crop[:, :, ::-1].transpose(2, 0, 1) * 255 - MEAN[:, None, None]
        net.blobs["data"].reshape(1, *bgr.shape)
        rows.append(net.forward(data=bgr[np.newaxis].astype(np.float32))["prob"].copy())
    return np.concatenate(rows)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    return saved_net(tmp_path)


def classifier(files: tuple[str, str], **settings: Any) -> Classifier:
    return Classifier(*files, mean=MEAN, raw_scale=255, channel_swap=(2, 1, 0), **settings)


def test_centre_crop(files: tuple[str, str]) -> None:
    pictures = [picture(13, 11, seed=seed) for seed in range(3)]
    net = classifier(files, image_dims=(13, 11))
    expected = by_hand(caffe.Net(files[0], caffe.TEST, weights=files[1]), [each[2:10, 1:9] for each in pictures])
    np.testing.assert_allclose(net.predict(pictures, oversample=False), expected, rtol=1e-4, atol=1e-6)


def test_oversampling_averages_ten_crops(files: tuple[str, str]) -> None:
    pictures = [picture(12, 10, seed=seed) for seed in range(2)]
    reference = caffe.Net(files[0], caffe.TEST, weights=files[1])
    expected = []
    for each in pictures:
        five = [each[:8, :8], each[:8, 2:], each[4:, :8], each[4:, 2:], each[2:10, 1:9]]
        expected.append(by_hand(reference, [*five, *(crop[:, ::-1] for crop in five)]).mean(axis=0))
    predicted = classifier(files, image_dims=(12, 10)).predict(pictures)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-6)


def test_pictures_are_resized(files: tuple[str, str]) -> None:
    flat = np.broadcast_to(np.float32([0.2, 0.4, 0.6]), (30, 20, 3))
    net = classifier(files)
    expected = by_hand(caffe.Net(files[0], caffe.TEST, weights=files[1]), [flat[:8, :8]])
    np.testing.assert_allclose(net.predict([flat, flat[:9]]), expected.repeat(2, axis=0), rtol=1e-4, atol=1e-6)


def test_a_trained_net_knows_its_samples() -> None:
    model = zoo.fashion_mnist()
    net = Classifier(model.prototxt, model.weights)
    images = [caffe.io.load_image(sample.picture, color=False) for sample in model.samples]
    found = net.predict(images, oversample=False).argmax(axis=1)
    assert (found == [sample.label for sample in model.samples]).mean() >= 0.9


def test_mistakes(files: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"image_dims is \(4, 9\).*at least the input's \(8, 8\)"):
        classifier(files, image_dims=(4, 9))
    with pytest.raises(TypeError, match="no pictures given"):
        classifier(files).predict([])
    with pytest.raises(ValueError, match="channel axis"):
        classifier(files).predict([np.zeros((9, 9))])
    with pytest.raises(TypeError, match=r"found one: give predict\(\[picture\]\)"):
        classifier(files).predict(picture(8, 8))
    with pytest.raises(TypeError, match=r"found 'cat.jpg': give load_image"):
        classifier(files).predict(["cat.jpg"])
    with pytest.raises(TypeError, match=r"gpu: .* by caffe.set_mode_gpu\(\)"):
        classifier(files, gpu=True)
    with pytest.raises(TypeError, match=r"mean_file: .* mean=numpy.load"):
        Classifier(*files, mean_file="mean.npy")
    no_input = 'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 } } }'
    (tmp_path / "none.prototxt").write_text(no_input)
    with pytest.raises(ValueError, match="deploy prototxt"):
        Classifier(tmp_path / "none.prototxt", files[1])
