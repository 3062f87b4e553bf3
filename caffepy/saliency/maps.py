"""How a score depends on the image: one gradient, and what it is folded into."""

from typing import Any

import numpy as np

from caffepy import device
from caffepy.blob import Floats
from caffepy.errors import ArgumentError
from caffepy.kernels import kernel
from caffepy.net import Net
from caffepy.net.gradient import VersionName
from caffepy.saliency.score import Score, Target, class_score, only


def score_gradient(net: Net, score: Score, wrt: VersionName | None = None) -> Any:
    """w = dS/d(wrt), of the shape of `wrt`; default: the net's only input.

    In a batch, image n's part is the gradient of image n's own score, as long as no layer mixes images (BatchNorm does
    at TRAIN). One backward pass without weight gradients; no Blob.diff is touched. Raises StateError unless the net
    has run forward on the data its inputs hold. In GPU mode the array is the GPU's.
    """
    if wrt is None:
        wrt = only(net.inputs, "input")
    gradient = net.gradient({score.blob: score.diff}, [wrt])[wrt]
    if gradient.shape[:1] != score.diff.shape[:1]:
        raise ArgumentError(
            f"the scores, of shape {score.diff.shape}, are of another number of images than {wrt!r}, of shape "
            f"{gradient.shape}: choose blobs of one batch with `output` and `wrt`"
        )
    return gradient


def channel_maximum(gradient: Any) -> Floats:
    """M = max over channels of |w|: (N, channels, H, W) -> (N, H, W), on the host.

    A gradient on the GPU is folded there; the map alone is copied.
    """
    if gradient.ndim != 4:
        raise ArgumentError(
            f"a saliency map needs a gradient of shape (N, channels, height, width), got {gradient.shape}: "
            "choose a blob of that shape with `wrt`"
        )
    num, channels, height, width = gradient.shape
    maps = np.empty((num, height, width), np.float32)
    if isinstance(gradient, np.ndarray):
        channel_maximum_forward(np.ascontiguousarray(gradient, np.float32), channels, height * width, maps)
        return maps
    running = device.current()
    assert not isinstance(running, device.Cpu)
    on_gpu = running.zeros(maps.size, np.float32)
    channel_maximum_forward(gradient, channels, height * width, on_gpu)
    running.download(on_gpu, maps)
    return maps


@kernel("saliency.cu", per="maps")
def channel_maximum_forward(gradient: Floats, channels: int, inner: int, maps: Floats) -> None:
    """maps[n, i] = max over c of |gradient[n, c, i]|"""
    np.abs(gradient.reshape(-1, channels, inner)).max(axis=1, out=maps.reshape(-1, inner), initial=0)


def saliency_map(
    net: Net,
    target: Target = "top",
    *,
    output: str | None = None,
    wrt: VersionName | None = None,
    before_softmax: bool = True,
) -> Floats:
    """M[n, i, j] = max over channels c of |dS_n / d image[n, c, i, j]|, one map for each image: (N, H, W).

    Simonyan, Vedaldi & Zisserman 2013, "Deep Inside Convolutional Networks" (arXiv 1312.6034), section 3.1.

    target          a class index, one for each image, or "top": each image's class of the highest score
    output          the blob of class scores; default: the net's only output
    wrt             the blob whose positions the map shows, or (blob, layer); default: the net's only input
    before_softmax  differentiate the unnormalised score that enters the final Softmax, as the paper does;
                    False: the probability that leaves it

    Run `net.forward` first. Raises ArgumentError, UnknownBlobError, or StateError where the forward pass does not
    stand.
    """
    score = class_score(net, target, output=output, before_softmax=before_softmax)
    return channel_maximum(score_gradient(net, score, wrt))
