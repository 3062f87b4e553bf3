"""Class activation maps, place by place from their definitions, and full-gradient."""

from typing import Any

import numpy as np
import pytest

from caffepy import saliency
from caffepy.errors import ArgumentError
from caffepy.saliency.resample import resized
from tests.nets import make, noise
from tests.saliency.methods.cases import CLASSES, IMAGES, close, mixed, same_on_a_gpu
from tests.saliency.nets import NORMALIZED, gather
from tests.saliency.slow import Slow, Step


def parts(wrt: str = "mean") -> list[tuple[np.ndarray, np.ndarray]]:
    """Each image's activations and gradients."""
    slow = Slow(mixed())
    blobs = slow.forward(IMAGES)
    gradient = slow.backward("fc", np.eye(6)[CLASSES], wrt=wrt)
    return list(zip(blobs[wrt], gradient, strict=True))


def grad_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.maximum(sum(g[c].mean() * a[c] for c in range(len(a))), 0)


def grad_cam_plus_plus(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    cam = np.zeros(a.shape[1:])
    for c in range(len(a)):
        weight = 0.0
        for at in np.ndindex(g[c].shape):
            if g[c][at] != 0:
                alpha = g[c][at] ** 2 / (2 * g[c][at] ** 2 + a[c].sum() * g[c][at] ** 3 + 1e-6)
                weight += alpha * max(g[c][at], 0)
        cam += weight * a[c]
    return np.maximum(cam, 0)


def layer_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.maximum((np.maximum(g, 0) * a).sum(axis=0), 0)


def hires_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.maximum((g * a).sum(axis=0), 0)


def linear_approximation(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return (g * a).sum(axis=0)


@pytest.mark.parametrize("slow", [grad_cam, grad_cam_plus_plus, layer_cam, hires_cam, linear_approximation])
@pytest.mark.parametrize("layer", ["mean", "pool1"])
def test_the_definition(slow: Any, layer: str) -> None:
    method = getattr(saliency, slow.__name__)
    close(method(mixed(), IMAGES, CLASSES, layer=layer), np.stack([slow(a, g) for a, g in parts(layer)]))


def test_the_last_blob_with_height_and_width_is_taken() -> None:
    right = saliency.grad_cam(mixed(), IMAGES, CLASSES, layer="mean").numpy()
    np.testing.assert_array_equal(saliency.grad_cam(mixed(), IMAGES, CLASSES).numpy(), right)


def test_a_blob_is_as_the_last_layer_in_place_left_it() -> None:
    slow = Slow(mixed())
    blobs = slow.forward(IMAGES)
    assert (blobs["sum"] >= 0).all()
    found = saliency.linear_approximation(mixed(), IMAGES, CLASSES, layer="sum")
    named = saliency.linear_approximation(mixed(), IMAGES, CLASSES, layer=("sum", "relu_sum"))
    np.testing.assert_array_equal(found.numpy(), named.numpy())


def test_guided_grad_cam() -> None:
    def guided(step: Step, dy: np.ndarray) -> list[np.ndarray]:
        return [np.maximum(dy, 0) * (step.bottoms[0] > 0)]

    slow = Slow(mixed())
    slow.forward(IMAGES)
    guide = slow.backward("fc", np.eye(6)[CLASSES], {"ReLU": guided})
    cams = np.stack([grad_cam(a, g) for a, g in parts()])
    wide = np.stack([by_hand(cam, 9, 8) for cam in cams])
    close(saliency.guided_grad_cam(mixed(), IMAGES, CLASSES), guide * wide[:, None])


def by_hand(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear between pixels' centres, one value at a time."""
    result = np.zeros((height, width))
    for y, x in np.ndindex(height, width):
        places = []
        for i, size, new in ((y, image.shape[0], height), (x, image.shape[1], width)):
            at = min(max((i + 0.5) * size / new - 0.5, 0), size - 1)
            low = min(int(at), size - 1)
            places.append([(low, 1 - (at - low)), (min(low + 1, size - 1), at - low)])
        result[y, x] = sum(u * v * image[a, b] for a, u in places[0] for b, v in places[1])
    return result


@pytest.mark.parametrize("size", [(9, 8), (1, 1), (3, 20)])
def test_resizing(size: tuple[int, int]) -> None:
    image = noise(2, 4, 5)
    close(resized(image, *size), np.stack([by_hand(one, *size) for one in image]))


def test_full_gradients_parts_add_up_to_the_score() -> None:
    """Of a net whose nonlinearities are rectifiers the score is x * dS/dx and every b * dS/db, added up."""
    from caffepy.saliency.methods.full import spatial_biases

    net = gather(make(NORMALIZED))
    images = noise(2, 3, 5, 4)
    net.forward(data=images)
    score = net.blobs["fc"].data[:, 2].copy()
    found = list(spatial_biases(net))
    assert [layer.name for layer, _ in found] == ["bn", "scale"]
    names = [(layer.param.top[0], layer.name) for layer, _ in found]
    gradients = net.gradient({"fc": np.eye(6)[[2, 2]]}, ["data", *names])
    total = (gradients["data"] * images).sum(axis=(1, 2, 3)) + net.params["fc"][1].data[2]
    for name, (_, bias) in zip(names, found, strict=True):
        total += (gradients[name] * bias[:, None, None]).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(total, score, rtol=1e-4)


def test_full_gradient() -> None:
    net, slow = mixed(), Slow(mixed())
    slow.forward(IMAGES)
    diff = np.eye(6)[CLASSES]
    right = np.zeros((2, 9, 8))
    for wrt, factor in (
        ("data", IMAGES),
        *((name, net.params[name][1].data[:, None, None]) for name in ("conv1", "a", "b")),
    ):
        shares = abs(slow.backward("fc", diff, wrt=wrt) * factor)
        for n, share in enumerate(shares):
            scaled = (share - share.min()) / (share.max() - share.min())
            right[n] += by_hand(scaled.sum(axis=0), 9, 8)
    close(saliency.full_gradient(net, IMAGES, CLASSES), right)


def test_on_a_gpu(gpu: Any) -> None:
    for name in ("grad_cam", "grad_cam_plus_plus", "layer_cam", "guided_grad_cam", "full_gradient"):
        same_on_a_gpu(getattr(saliency, name))


def test_nets_without_height_and_width() -> None:
    net = make("""
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 1 dim: 3 dim: 4 } } }
        layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2
                weight_filler { type: "gaussian" std: 1 } } }
    """)
    with pytest.raises(ArgumentError, match="this net has none; gradient, smoothgrad"):
        saliency.grad_cam(net, noise(2, 1, 3, 4), 1)
    with pytest.raises(ArgumentError, match=r"'fc' has shape \(2, 6\)"):
        saliency.grad_cam(mixed(), IMAGES, CLASSES, layer="fc")
