"""Nets whose scores have the shapes that saliency takes."""

from typing import Any

import numpy as np

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }'

CONV = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "tanh" type: "TanH" bottom: "conv" top: "conv" }
"""

CLASSIFIER = f"""
force_backward: true
{INPUT} {CONV}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
        inner_product_param {{ num_output: 6 weight_filler {{ type: "gaussian" std: 0.3 }} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""
"""(2, 3, 5, 4) -> prob (2, 6), fc before it."""

DENSE = f"""
{INPUT} {CONV}
layer {{ name: "score" type: "Convolution" bottom: "conv" top: "score"
        convolution_param {{ num_output: 6 kernel_size: 2 weight_filler {{ type: "gaussian" std: 0.3 }} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "score" top: "prob" }}
"""
"""(2, 3, 5, 4) -> prob (2, 6, 4, 3), score before it."""

POOLED = f"""
{INPUT} {CONV}
layer {{ name: "score" type: "Convolution" bottom: "conv" top: "score"
        convolution_param {{ num_output: 6 kernel_size: 2 weight_filler {{ type: "gaussian" std: 0.3 }} }} }}
layer {{ name: "pool" type: "Pooling" bottom: "score" top: "pool"
        pooling_param {{ pool: AVE global_pooling: true }} }}
"""
"""(2, 3, 5, 4) -> pool (2, 6, 1, 1), no Softmax."""

MIXED = f"""
{INPUT.replace("dim: 5 dim: 4", "dim: 9 dim: 8")}
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {{ num_output: 4 kernel_size: 3
        weight_filler {{ type: "gaussian" std: 0.3 }} bias_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param {{ kernel_size: 3 stride: 2 }} }}
layer {{ name: "a" type: "Convolution" bottom: "pool1" top: "a" convolution_param {{ num_output: 4 kernel_size: 3 pad: 1
        weight_filler {{ type: "gaussian" std: 0.4 }} bias_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "relu_a" type: "ReLU" bottom: "a" top: "a" }}
layer {{ name: "drop" type: "Dropout" bottom: "a" top: "a" }}
layer {{ name: "sum" type: "Eltwise" bottom: "pool1" bottom: "a" top: "sum" }}
layer {{ name: "relu_sum" type: "ReLU" bottom: "sum" top: "sum" }}
layer {{ name: "b" type: "Convolution" bottom: "sum" top: "b" convolution_param {{ num_output: 3 kernel_size: 1
        weight_filler {{ type: "gaussian" std: 0.5 }} bias_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "relu_b" type: "ReLU" bottom: "b" top: "b" }}
layer {{ name: "both" type: "Concat" bottom: "sum" bottom: "b" top: "both" }}
layer {{ name: "mean" type: "Pooling" bottom: "both" top: "mean"
        pooling_param {{ pool: AVE kernel_size: 2 stride: 1 }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "mean" top: "fc" inner_product_param {{ num_output: 6
        weight_filler {{ type: "gaussian" std: 0.4 }} bias_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""
"""(2, 3, 9, 8) -> prob (2, 6): layers in place, blobs with several consumers, both poolings, Concat, Eltwise."""

NORMALIZED = f"""
{INPUT}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {{ num_output: 4 kernel_size: 3
        bias_term: false weight_filler {{ type: "gaussian" std: 0.3 }} }} }}
layer {{ name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }}
layer {{ name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param {{ bias_term: true
        filler {{ type: "uniform" min: 0.5 max: 2 }} bias_filler {{ type: "gaussian" std: 0.2 }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param {{ num_output: 6
        weight_filler {{ type: "gaussian" std: 0.4 }} bias_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "fc" top: "prob" }}
"""
"""(2, 3, 5, 4) -> prob (2, 6): BatchNorm, Scale and ReLU in place; give the statistics values with `gather`."""


def gather(net: Any) -> Any:
    """The net, with statistics in its BatchNorm layers."""
    rng = np.random.default_rng(3)
    for layer in net.layers:
        if layer.type == "BatchNorm":
            channels = layer.blobs[0].count
            layer.blobs[0].data[...] = 2 * rng.normal(0, 0.5, channels)
            layer.blobs[1].data[...] = 2 * rng.uniform(0.5, 2, channels)
            layer.blobs[2].data[...] = 2
    return net
