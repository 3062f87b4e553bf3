"""Full-gradient: the input's share of the score and that of every bias."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from caffepy.blob import Floats
from caffepy.layer import Layer
from caffepy.layers.common.scale import Scale
from caffepy.layers.normalization.batch_norm import BatchNorm
from caffepy.layers.vision.convolution import Convolution
from caffepy.net import Net
from caffepy.saliency import pictures
from caffepy.saliency.method import method
from caffepy.saliency.subject import Subject, downloaded, uploaded


@method("full-gradient", "largest")
def full_gradient(subject: Subject) -> list[Any]:
    """psi(x * dS/dx) + sum over biases b of psi(b * dS/db), (N, height, width) (Srinivas & Fleuret 2019, 1905.00780).

    psi takes absolute values, scales them to 0 to 1 in each image and layer, resizes them to the image and adds up the
    channels. Biases are those of convolutions, of Scale layers and of BatchNorm's mean.
    """
    subject.forward()
    biases = {(layer.param.top[0], layer.name): bias for layer, bias in spatial_biases(subject.net)}
    data, results = downloaded(subject.images), []
    for gradients in subject.all_gradients([subject.input, *biases]):
        total = _psi(data * downloaded(gradients[subject.input]), subject.shape[2:])
        for name, bias in biases.items():
            total += _psi(bias[:, None, None] * downloaded(gradients[name]), subject.shape[2:])
        results.append(uploaded(total))
    return results


def spatial_biases(net: Net) -> Iterator[tuple[Layer, Floats]]:
    """Layers whose top has height and width and that add a bias, and the bias of each channel."""
    for layer in net.execution.layers:
        if not layer.param.top or len(net.blob(layer.param.top[0]).shape) != 4:
            continue
        if isinstance(layer, Convolution) and len(layer.blobs) > 1:
            yield layer, layer.blobs[1].read()
        elif isinstance(layer, Scale) and layer.learned and layer.param.scale_param.bias_term:
            yield layer, layer.blobs[1].read().reshape(-1)
        elif isinstance(layer, BatchNorm) and layer.use_global_stats:
            mean, variance = layer.mean.host, layer.variance.host
            bias = np.asarray(-mean / np.sqrt(variance + layer.added), np.float32)
            affine = [blob.read() for blob in layer.blobs[3:]]
            yield layer, bias * affine[0] + affine[1] if affine else bias


def _psi(values: Floats, size: tuple[int, ...]) -> Floats:
    """(N, channels, h, w) -> (N, height, width)"""
    maps = []
    for image in np.abs(values):
        low, high = image.min(), image.max()
        scaled = ((image - low) / max(high - low, np.float32(1e-12))).sum(axis=0)
        maps.append(pictures.resize(scaled, (size[0], size[1])))
    return np.asarray(maps, np.float32)
