"""The models that come with the package."""

from pathlib import Path

import numpy as np
import pytest

from caffepy import io, zoo
from caffepy.errors import MissingFileError
from caffepy.saliency import saliency_map


def test_fashion_mnist_is_whole() -> None:
    model = zoo.fashion_mnist()
    assert len(model.labels) == 10
    assert [sample.label for sample in model.samples] == list(range(10))
    assert model.weights.stat().st_size < 1_000_000
    assert (model.prototxt.parent / "LICENSE").is_file()


def test_it_knows_its_samples_and_looks_at_the_garments() -> None:
    model = zoo.fashion_mnist()
    images = np.stack([io.load_image(sample.picture, color=False)[np.newaxis, :, :, 0] for sample in model.samples])
    net = model.net()
    net.blobs["data"].reshape(*images.shape)
    prob = net.forward(data=images)["prob"]
    assert prob.shape == (10, 10)
    assert (prob.argmax(axis=1) == np.arange(10)).sum() >= 8
    near = np.stack([_spread(image[0] > 0.05, 2) for image in images])
    maps = saliency_map(net)
    shares = (maps * near).sum(axis=(1, 2)) / maps.sum(axis=(1, 2))
    assert (shares > near.mean(axis=(1, 2))).sum() >= 8


def _spread(mask: np.ndarray, pixels: int) -> np.ndarray:
    shifts = range(-pixels, pixels + 1)
    return np.any([np.roll(mask, (y, x), (0, 1)) for y in shifts for x in shifts], axis=0)


def test_a_broken_installation_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(zoo, "_MODELS", tmp_path)
    with pytest.raises(MissingFileError, match="install caffepy again"):
        zoo.fashion_mnist()
