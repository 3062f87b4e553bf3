"""Methods that try: covered windows, random masks, channels, and the best region."""

from typing import Any

import numpy as np
import pytest

from caffepy import saliency
from caffepy.errors import ArgumentError
from tests.nets import make
from tests.saliency.methods.cases import CLASSES, IMAGES, close, mixed, same_on_a_gpu, slow_score
from tests.saliency.methods.test_cam import by_hand
from tests.saliency.slow import Slow

BRIGHT = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 16 dim: 16 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2 } }
"""


def bright() -> tuple[Any, np.ndarray]:
    """A net whose score 1 is the sum over a corner, and an image of noise."""
    net = make(BRIGHT)
    weights = np.zeros((16, 16))
    weights[:5, :5] = 1
    net.params["fc"][0].data[1] = weights.ravel()
    return net, np.random.default_rng(0).uniform(0.5, 1.5, (1, 1, 16, 16)).astype(np.float32)


@pytest.mark.parametrize("batch", [None, 3])
def test_occlusion(batch: int | None) -> None:
    net, right = mixed(), []
    for image, c in zip(IMAGES, CLASSES, strict=True):
        before, drops, counts = slow_score(net, image, c), np.zeros((9, 8)), np.zeros((9, 8))
        for y in (0, 2, 4, 6):
            for x in (0, 2, 4, 5):
                covered = image.copy()
                covered[:, y : y + 3, x : x + 3] = 0.5
                drops[y : y + 3, x : x + 3] += before - slow_score(net, covered, c)
                counts[y : y + 3, x : x + 3] += 1
        right.append(drops / counts)
    close(
        saliency.occlusion(net, IMAGES, CLASSES, window=3, stride=2, baseline=0.5, batch=batch), np.stack(right), 1e-3
    )


def test_rise_by_hand() -> None:
    net, right, rng = mixed(), [], np.random.default_rng(4)
    grids = rng.random((6, 5, 5)) < 0.5
    shifts = np.stack([rng.integers(0, 3, 6), rng.integers(0, 2, 6)], axis=1)
    for image, c in zip(IMAGES, CLASSES, strict=True):
        total = np.zeros((9, 8))
        for grid, (dy, dx) in zip(grids, shifts, strict=True):
            mask = by_hand(grid.astype(float), 15, 10)[dy : dy + 9, dx : dx + 8]
            total += mask * Slow(net).forward((image * mask)[None])["prob"][0, c]
        right.append(total / (6 * 0.5) - total.mean() / (6 * 0.5))
    for batch in (None, 4):
        close(saliency.rise(net, IMAGES, CLASSES, masks=6, cells=4, seed=4, batch=batch), np.stack(right), 1e-3)


def test_rise_finds_what_counts() -> None:
    net, image = bright()
    found = saliency.rise(net, image, 1, masks=400, cells=4).maps()[0]
    assert found[:5, :5].min() > found[8:, 8:].max()


def test_score_cam() -> None:
    net, slow, right = mixed(), Slow(mixed()), []
    activations = slow.forward(IMAGES)["mean"]
    for image, maps, c in zip(IMAGES, activations, CLASSES, strict=True):
        scores = []
        for one in maps:
            mask = by_hand((one - one.min()) / (one.max() - one.min() + 1e-8), 9, 8)
            scores.append(slow_score(net, image * mask, c))
        weights = np.exp(scores - np.max(scores))
        right.append(np.maximum(np.tensordot(weights / weights.sum(), maps, 1), 0))
    for batch in (None, 3):
        close(saliency.score_cam(net, IMAGES, CLASSES, batch=batch), np.stack(right), 1e-3)


def test_ablation_cam() -> None:
    net, slow, right = mixed(), Slow(mixed()), []
    blobs = slow.forward(IMAGES)
    weight, bias = (blob.data.astype(np.float64) for blob in net.params["fc"])
    for n, c in enumerate(CLASSES):
        whole, lost = blobs["fc"][n, c], []
        for k in range(len(blobs["mean"][n])):
            without = blobs["mean"][n].copy()
            without[k] = 0
            lost.append((whole - (weight[c] @ without.ravel() + bias[c])) / whole)
        right.append(np.maximum(np.tensordot(lost, blobs["mean"][n], 1), 0))
    for batch in (None, 3):
        found = saliency.ablation_cam(net, IMAGES, CLASSES, batch=batch)
        close(found, np.stack(right), 1e-3)
        np.testing.assert_allclose(found.score, blobs["fc"][[0, 1], CLASSES], rtol=1e-4)


def test_ablation_in_mid_net_reaches_the_score_on_every_way() -> None:
    net, slow, right = mixed(), Slow(mixed()), []
    data = slow.forward(IMAGES)["pool1"]
    for n, c in enumerate(CLASSES):
        lost = []
        for k in range(4):
            copy = Slow(net)
            copy.forward(IMAGES[n : n + 1])
            lost.append(_score_without(net, data[n], k, c))
        whole = slow_score(net, IMAGES[n], c)
        right.append(np.maximum(np.tensordot((whole - np.array(lost)) / whole, data[n], 1), 0))
    close(saliency.ablation_cam(net, IMAGES, CLASSES, layer="pool1"), np.stack(right), 1e-3)


def _score_without(net: Any, pool: np.ndarray, channel: int, index: int) -> float:
    """The score when a channel of pool1 is 0, by pycaffe's own partial forward pass."""
    net.blobs["pool1"].reshape(1, *pool.shape) if net.blobs["pool1"].shape[0] != 1 else None
    net.blobs["data"].reshape(1, 3, 9, 8)
    net.reshape()
    net.blobs["pool1"].data[...] = pool
    net.blobs["pool1"].data[0, channel] = 0
    following = net.layer_names[net.layer_names.index("pool1") + 1]
    net.forward(start=following)
    return float(net.blobs["fc"].data[0, index])


def test_extremal_perturbation_keeps_the_region_of_the_score() -> None:
    net, image = bright()[0], np.zeros((1, 1, 16, 16), np.float32)
    image[..., :5, :5] = image[..., 10:, 10:] = 1  # two squares, of which the score knows one
    found = saliency.extremal_perturbation(net, image, 1, area=0.12, grid=16, iterations=300, blur=0.3).maps()[0]
    assert found[:4, :4].min() > 0.5
    assert found[9:, 9:].max() < 0.2
    assert 0.05 < (found > 0.5).mean() < 0.25


def test_the_soft_maximums_derivative() -> None:
    from caffepy.saliency.methods import extremal, mask_operations

    fading, rng = extremal._fading(4, 1.0), np.random.default_rng(0)
    places, weights = (rng.random((2, 16)).astype(np.float32) for _ in range(2))

    def smooth(values: np.ndarray) -> np.ndarray:
        """By its definition, in float64."""
        seen = values[:, None] * fading.astype(np.float64)
        shares = np.exp(20 * seen)
        return (shares * seen).sum(axis=2) / shares.sum(axis=2)

    mask, level, slope = (np.empty((2, 16), np.float32) for _ in range(3))
    mask_operations.soft_maximum(places, fading, 20.0, 16, mask, level)
    np.testing.assert_allclose(mask, smooth(places), rtol=1e-5)
    mask_operations.soft_maximum_backward(places, fading, 20.0, 16, mask, level, weights, slope)
    for i in range(16):
        step = np.eye(16)[i] * 1e-5
        by_difference = ((smooth(places + step) - smooth(places - step)) * weights).sum(axis=1) / 2e-5
        np.testing.assert_allclose(slope[:, i], by_difference, rtol=1e-3, atol=1e-4)


def test_each_image_of_a_batch_has_the_mask_that_it_has_alone() -> None:
    options = {"iterations": 3, "grid": 4}
    both = saliency.extremal_perturbation(mixed(), IMAGES, CLASSES, **options).numpy()
    for n, c in enumerate(CLASSES):
        alone = saliency.extremal_perturbation(mixed(), IMAGES[n : n + 1], c, **options).numpy()
        np.testing.assert_allclose(both[n : n + 1], alone, rtol=1e-3, atol=1e-4)


def test_on_a_gpu(gpu: Any) -> None:
    same_on_a_gpu(saliency.occlusion, window=4)
    same_on_a_gpu(saliency.rise, masks=5, cells=3)
    same_on_a_gpu(saliency.score_cam)
    same_on_a_gpu(saliency.ablation_cam)
    same_on_a_gpu(saliency.extremal_perturbation, iterations=2, grid=4)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ArgumentError, match="masks is 0"):
        saliency.rise(mixed(), IMAGES, masks=0)
    with pytest.raises(ArgumentError, match="area is 2"):
        saliency.extremal_perturbation(mixed(), IMAGES, area=2)
    with pytest.raises(ArgumentError, match="explains the input only"):
        saliency.occlusion(mixed(), IMAGES, layer="pool1")
