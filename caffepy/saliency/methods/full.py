"""Full-gradient: the input's share of the score and that of every bias."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from caffepy.blob import Floats
from caffepy.layer import Layer
from caffepy.layers.common.scale import Scale, scale_forward
from caffepy.layers.normalization.batch_norm import BatchNorm
from caffepy.layers.vision.convolution import Convolution
from caffepy.net import Net
from caffepy.saliency.method import method
from caffepy.saliency.operations import product_of, ranges_of, unit_range_sum, weighted_powers
from caffepy.saliency.resample import resized
from caffepy.saliency.subject import Subject, uploaded, zeros


@method("full-gradient", "largest")
def full_gradient(subject: Subject) -> list[Any]:
    """psi(x * dS/dx) + sum over biases b of psi(b * dS/db), (N, height, width) (Srinivas & Fleuret 2019, 1905.00780).

    psi takes absolute values, scales them to 0 to 1 in each image and layer, resizes them to the image and adds up the
    channels. Biases are those of convolutions, of Scale layers and of BatchNorm's mean.
    """
    subject.forward()
    biases = {(layer.param.top[0], layer.name): bias for layer, bias in spatial_biases(subject.net)}
    offsets, results = {name: uploaded(bias) for name, bias in biases.items()}, []
    for gradients in subject.all_gradients([subject.input, *biases]):
        total, product = zeros((subject.shape[0], *subject.shape[2:])), gradients[subject.input]
        product_of(product, subject.images, product)
        _add_psi(product, total)
        for name, bias in offsets.items():
            gradient = gradients[name]
            inner = gradient.shape[2] * gradient.shape[3]
            scale_forward(gradient, bias, None, gradient.shape[0], gradient.shape[1], inner, None, gradient)
            _add_psi(gradient, total)
        results.append(total)
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


def _add_psi(values: Any, total: Any) -> None:
    """total (N, height, width) += psi(values), (N, channels, h, w)"""
    num, channels, height, width = values.shape
    lows, highs, maps = zeros((num,)), zeros((num,)), zeros((num, height, width))
    ranges_of(values, channels * height * width, 1, lows, highs)
    unit_range_sum(values, channels, height * width, lows, highs, maps)
    weighted_powers(resized(maps, *total.shape[1:]), uploaded([1]), 1, 1, total)
