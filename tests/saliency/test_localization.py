"""Where the object is."""

import builtins
from typing import Any

import numpy as np
import pytest

from caffepy import saliency
from caffepy.errors import ArgumentError, DeviceError
from caffepy.saliency import Preprocess
from tests.nets import make

BOX = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 40 dim: 48 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2 } }
"""


def scene() -> tuple[Any, np.ndarray]:
    """A red square on green, and a net whose score 1 looks at the square's middle."""
    net = make(BOX)
    weights = np.zeros((3, 40, 48))
    weights[:, 14:22, 24:32] = 1
    net.params["fc"][0].data[1] = weights.ravel()
    picture = np.random.default_rng(0).uniform(0, 0.1, (40, 48, 3)).astype(np.float32)
    picture[..., 1] += 0.7
    picture[10:26, 20:36] = picture[10:26, 20:36][..., [1, 0, 2]]
    return net, picture


def test_the_box_is_the_objects_and_not_the_maps() -> None:
    pytest.importorskip("cv2")
    net, picture = scene()
    found = saliency.localize(net, picture, 1, preprocess=Preprocess())
    np.testing.assert_allclose(found.box, (20, 10, 36, 26), atol=1)
    inside = np.zeros((40, 48), bool)
    inside[10:26, 20:36] = True
    assert (found.mask == inside).mean() > 0.98
    assert found.drawn(longest=96).shape == (80, 96, 3)


def test_a_map_that_points_nowhere() -> None:
    pytest.importorskip("cv2")
    net, picture = scene()
    with pytest.raises(ArgumentError, match="the map points nowhere"):
        saliency.localize(net, picture, 0, preprocess=Preprocess())


def test_what_is_wrong_is_said() -> None:
    net, picture = scene()
    with pytest.raises(ArgumentError, match=r"background 0.5 must be below foreground 0.2"):
        saliency.localize(net, picture, 1, foreground=0.2, background=0.5)
    with pytest.raises(ArgumentError, match="one image and one target, got 2 maps"):
        saliency.localize(net, picture, [0, 1])


def test_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "cv2":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    net, picture = scene()
    with pytest.raises(DeviceError, match=r"pip install caffepy\[localize\]"):
        saliency.localize(net, picture, 1)
