"""Operations of FlowNet's layers, and SegAccuracy's: both bodies alike."""

import numpy as np
import pytest

from caffepy.layers.flow.channel_norm import channel_norm_backward, channel_norm_forward
from caffepy.layers.flow.correlation import Patches, correlation_backward, correlation_forward
from caffepy.layers.flow.flow_warp import flow_warp_backward_flow, flow_warp_backward_image, flow_warp_forward
from caffepy.layers.segmentation.seg_accuracy import seg_accuracy_count, seg_accuracy_forward
from caffepy.layers.vision.resample import resample_axis
from tests.gpu_mode import check_bodies

pytestmark = pytest.mark.usefixtures("gpu")


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize(
    ("patches", "top"),
    [
        ((3, 2, 2, -1, -1, -2, -2, 3, 3), (3, 4)),
        ((1, 1, 1, 0, 0, 0, -3, 1, 3), (6, 7)),
        ((3, 1, 2, 0, 2, 0, 0, 1, 2), (4, 2)),
    ],
)
def test_correlation(patches: tuple[int, ...], top: tuple[int, int], subtract: bool) -> None:
    first, second, grid = noise(2, 3, 6, 7), noise(2, 3, 6, 7)[::-1].copy(), patches[-2] * patches[-1]
    sizes, constants = (3, 6, 7, *top), {"patches": Patches(*patches, subtract)}
    check_bodies(correlation_forward, first, second, *sizes, noise(2, grid, *top), **constants)
    for own, other, side in ((first, second, 1), (second, first, -1)):
        diff = np.full_like(own, np.nan)
        check_bodies(correlation_backward, own, other, noise(2, grid, *top), side, *sizes, diff, **constants)


def test_channel_norm() -> None:
    x, norm = noise(2, 5, 33), np.abs(noise(2, 33))
    check_bodies(channel_norm_forward, x, 5, 33, norm)
    norm[0, :3] = 0
    check_bodies(channel_norm_backward, x, norm, noise(2, 33), 5, 33, noise(2, 5, 33))


@pytest.mark.parametrize("scale", [0.0, 2.0, 1e10])
def test_flow_warp(scale: float) -> None:
    """Scale 0: every position sees itself; also, all of an item see the same place."""
    image, flow, diff = noise(3, 2, 9, 11), scale * noise(3, 2, 9, 11), noise(3, 2, 9, 11)
    flow[1, 0], flow[1, 1] = 4.25 - np.arange(11), 5.5 - np.arange(9)[:, None]
    flow[2, 0, 0, 0] = np.nan
    sizes = 2, 9, 11
    for outside in (0.0, float("nan")):
        check_bodies(flow_warp_forward, image, flow, *sizes, outside, noise(3, 2, 9, 11), atol=1e-5)
    chains = np.zeros((2, 3, 9, 11), np.int32)
    check_bodies(flow_warp_backward_image, diff, flow, *sizes, chains, noise(3, 2, 9, 11), atol=1e-5)
    check_bodies(flow_warp_backward_flow, image, flow, diff, *sizes, noise(3, 2, 9, 11), atol=1e-5)


@pytest.mark.parametrize("inner", [1, 7])
def test_resample(inner: int) -> None:
    starts = np.int32([0, 1, 3, 3, 5])
    check_bodies(resample_axis, noise(3, 8, inner), starts, noise(5, 3), 8, 5, 3, inner, noise(3, 5, inner))


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("reset", [0, 1])
def test_seg_accuracy(reset: int, bad: bool) -> None:
    scores = noise(2, 6, 300).round(1)  # ties
    scores[0, 2, 5] = np.nan
    labels = np.random.default_rng(0).choice(np.float32([0, 1, 2, 3, 5, 255, -1.5]), (2, 300))
    if bad:
        labels[1, 7], labels[1, 250] = 6, np.nan
    ignored, confusion, first = np.int32([255, -1]), np.full((6, 6), 3, np.int32), np.int32([0])
    check_bodies(seg_accuracy_count, scores, labels, ignored, 6, 300, 2, reset, confusion, first, rtol=0, atol=0)
    seg_accuracy_count.twin(scores, labels, ignored, 6, 300, 2, reset, confusion, first)
    assert first[0] == (307 if bad else -1)
    check_bodies(seg_accuracy_forward, confusion, labels, first, 6, noise(1), noise(1, 1, 1, 3))
