"""Small nets that several tests build."""

from typing import Any

import numpy as np

import caffepy as caffe
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter


def make(text: str, phase: int = caffe.TEST, seed: int = 1, **kwargs: Any) -> caffe.Net:
    """A net from prototxt text, its fillers seeded."""
    caffe.set_random_seed(seed)
    return caffe.Net(prototxt.parse(text, NetParameter), phase, **kwargs)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


CHAIN = """
name: "chain"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool1" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""
"""data -> conv1 -> relu1 (in place) -> pool1 -> fc; no loss, no force_backward."""

FORCED = "force_backward: true\n" + CHAIN

FORK = """
layer { name: "x" type: "Input" top: "x" top: "unused" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 4
        weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 4
        weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
layer { name: "side" type: "TanH" bottom: "a" top: "side" }
"""
"""x -> a; a -> b; a + b -> sum; tanh(a) -> side: a has three consumers."""
