"""Every operation that oneDNN computes, beside its NumPy body: data, diffs, gradients and weights' diffs."""

import numpy as np
import pytest

from caffepy.proto.caffe_pb2 import TRAIN
from tests.cpu.roads import assert_alike, build, captured, needs_onednn, passes, road

pytestmark = needs_onednn

FLAT = 'layer {{ name: "{0}" type: "Flatten" bottom: "{1}" top: "{0}" }}'
CONV = 'layer {{ name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {{ {} }} }}'
PRE = CONV.format("num_output: 32 kernel_size: 1")
POOL = PRE.replace("{", "{{").replace("}", "}}") + (
    'layer {{ name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param {{ {} }} }}'
)
LRN = PRE.replace("{", "{{").replace("}", "}}") + (
    'layer {{ name: "n" type: "LRN" bottom: "c" top: "n" lrn_param {{ {} }} }}'
)
FC = 'layer {{ name: "f" type: "InnerProduct" bottom: "data" top: "f" inner_product_param {{ {} }} }}'
RELU = 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" relu_param { negative_slope: 0.1 } }'
NORM = """layer { name: "b" type: "BatchNorm" bottom: "c" top: "c" }
          layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }"""
APART = """layer { name: "b" type: "BatchNorm" bottom: "c" top: "b" }
           layer { name: "s" type: "Scale" bottom: "b" top: "s" scale_param { bias_term: true } }
           layer { name: "r" type: "ReLU" bottom: "s" top: "s" }"""
HALF_APART = APART.replace('bottom: "b" top: "s"', 'bottom: "b" top: "b"').replace('"s" top: "s"', '"b" top: "b"')
AFTER = """layer { name: "z" type: "Convolution" bottom: "s" top: "z"
           convolution_param { num_output: 9 kernel_size: 3 } }"""
BRANCH = 'layer {{ name: "{0}" type: "Convolution" bottom: "data" top: "{0}" convolution_param {{ {1} }} }}'
BRANCHES = BRANCH.format("c", "num_output: 32 kernel_size: 1") + BRANCH.format("d", "num_output: 16 kernel_size: 1")
ALIKE = BRANCH.format("c", "num_output: 32 kernel_size: 1") + BRANCH.format("d", "num_output: 32 kernel_size: 1")
JOIN = 'layer { name: "j" type: "Concat" bottom: "c" bottom: "d" top: "j" }'
ELTWISE = 'layer {{ name: "e" type: "Eltwise" bottom: "c" bottom: "d" top: "e" eltwise_param {{ {} }} }}'

RECT = 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }'
NEXT = 'layer {{ name: "{0}" type: "Convolution" bottom: "c" top: "{0}" convolution_param {{ {1} }} }}'
TWO = NEXT.format("y", "num_output: 16 kernel_size: 1") + NEXT.format("z", "num_output: 8 kernel_size: 3 pad: 1")

CASES = {
    "conv": (CONV.format("num_output: 24 kernel_size: 3 pad: 1"), (2, 16, 9, 9)),
    "conv of a picture": (CONV.format("num_output: 16 kernel_size: 5 stride: 2"), (1, 3, 23, 20)),
    "conv without bias": (CONV.format("num_output: 5 kernel_size: 3 bias_term: false"), (3, 7, 8, 6)),
    "conv, a border that no window reaches": (CONV.format("num_output: 16 kernel_size: 2 stride: 3"), (1, 16, 10, 9)),
    "conv in groups": (CONV.format("num_output: 32 kernel_size: 3 pad: 2 group: 2"), (2, 32, 8, 8)),
    "conv, depthwise": (CONV.format("num_output: 32 kernel_size: 3 pad: 1 group: 32 stride: 2"), (2, 32, 9, 9)),
    "conv, dilated": (CONV.format("num_output: 16 kernel_size: 3 dilation: 2 pad: 2"), (1, 16, 9, 9)),
    "conv of one axis": (CONV.format("num_output: 16 kernel_size: 3 axis: 1"), (2, 8, 20)),
    "conv of three axes": (CONV.format("num_output: 8 kernel_size: 3 pad: 1"), (1, 4, 5, 6, 7)),
    "conv, relu": (CONV.format("num_output: 20 kernel_size: 3") + RELU, (2, 16, 9, 9)),
    "deconv": (
        CONV.format("num_output: 8 kernel_size: 4 stride: 2 pad: 1").replace("Convolution", "Deconvolution"),
        (2, 16, 7, 7),
    ),
    "deconv in groups": (
        CONV.format("num_output: 16 kernel_size: 4 stride: 2 group: 16").replace("Convolution", "Deconvolution"),
        (1, 16, 5, 6),
    ),
    "conv, norm": (CONV.format("num_output: 20 kernel_size: 3") + NORM, (2, 16, 9, 9)),
    "conv, norm, relu": (CONV.format("num_output: 20 kernel_size: 3 bias_term: false") + NORM + RELU, (2, 16, 9, 9)),
    "conv, norm in groups": (CONV.format("num_output: 32 kernel_size: 3 group: 4") + NORM, (2, 16, 9, 9)),
    "norm apart": (PRE + APART, (2, 16, 9, 9)),
    "norm apart, its scale in place": (PRE + HALF_APART, (2, 16, 9, 9)),
    "norm apart, its scale in place, and a layer after them": (
        CONV.format("num_output: 20 kernel_size: 1") + HALF_APART + AFTER.replace('"s"', '"b"'),
        (2, 16, 9, 9),
    ),
    "norm and scale of a changed blob": (
        PRE + FLAT.format("f", "c") + HALF_APART + 'layer { name: "q" type: "ReLU" bottom: "f" top: "f" }',
        (2, 16, 9, 9),
    ),
    "norm first, its scale in place": (HALF_APART.replace('bottom: "c"', 'bottom: "data"'), (2, 16, 5, 5)),
    "norm of six axes": (APART.replace('bottom: "c"', 'bottom: "data"'), (2, 5, 4, 1, 3, 3)),
    "sum of thirteen axes": (
        ELTWISE.format("").replace('"c" bottom: "d"', '"data" bottom: "data"'),
        (2,) * 6 + (1,) * 7,
    ),
    "norm apart, of channels that fill no block": (
        PRE.replace("num_output: 32", "num_output: 20") + APART + AFTER,
        (2, 16, 9, 9),
    ),
    "norms and a layer after them": (PRE + NORM + RELU + AFTER.replace('"s"', '"c"'), (2, 16, 9, 9)),
    "norm first": (APART.replace('bottom: "c"', 'bottom: "data"'), (2, 16, 5, 5)),
    "max": (POOL.format("pool: MAX kernel_size: 3 stride: 2"), (2, 8, 14, 13)),
    "max, padded": (POOL.format("pool: MAX kernel_size: 3 stride: 2 pad: 1"), (1, 8, 14, 14)),
    "max of all": (POOL.format("pool: MAX global_pooling: true"), (2, 8, 6, 5)),
    "average": (POOL.format("pool: AVE kernel_size: 3 stride: 2"), (2, 8, 14, 14)),
    "average, padded": (POOL.format("pool: AVE kernel_size: 3 stride: 1 pad: 1"), (1, 8, 7, 7)),
    "average, padded and hanging over": (POOL.format("pool: AVE kernel_size: 3 stride: 2 pad: 1"), (1, 8, 14, 14)),
    "average of all": (POOL.format("pool: AVE global_pooling: true"), (2, 8, 6, 5)),
    "lrn": (LRN.format("local_size: 5 alpha: 0.1 beta: 0.75 k: 2"), (2, 8, 6, 5)),
    "lrn of three": (LRN.format("local_size: 3 alpha: 0.1 beta: 0.5"), (2, 8, 6, 5)),
    "lrn within": (LRN.format("local_size: 3 alpha: 0.1 norm_region: WITHIN_CHANNEL"), (1, 8, 6, 5)),
    "inner product": (FC.format("num_output: 10"), (1, 4, 5, 5)),
    "inner product of many": (FC.format("num_output: 10"), (8, 4, 5, 5)),
    "inner product, transposed": (FC.format("num_output: 10 transpose: true bias_term: false"), (5, 30)),
    "inner product, axis 2": (FC.format("num_output: 6 axis: 2"), (2, 3, 4, 5)),
    "softmax": (PRE + 'layer { name: "m" type: "Softmax" bottom: "c" top: "m" }', (2, 8, 3, 3)),
    "softmax of vectors": (
        FC.format("num_output: 10") + 'layer { name: "m" type: "Softmax" bottom: "f" top: "m" }',
        (2, 9),
    ),
    "concat": (BRANCHES + JOIN, (2, 8, 5, 5)),
    "concat that cuts blocks": (BRANCHES.replace("num_output: 32", "num_output: 20") + JOIN, (2, 8, 5, 5)),
    "slice": (
        PRE + 'layer { name: "l" type: "Slice" bottom: "c" top: "x" top: "y" slice_param { slice_point: 16 } }',
        (2, 8, 5, 5),
    ),
    "slice that cuts blocks": (
        PRE + 'layer { name: "l" type: "Slice" bottom: "c" top: "x" top: "y" slice_param { slice_point: 5 } }',
        (2, 8, 5, 5),
    ),
    "sum": (ALIKE + ELTWISE.format("operation: SUM"), (2, 8, 5, 5)),
    "sum, weighted": (ALIKE + ELTWISE.format("operation: SUM coeff: 0.5 coeff: -2"), (2, 8, 5, 5)),
    "sum, relu": (
        ALIKE + ELTWISE.format("operation: SUM") + RELU.replace('"c"', '"e"'),
        (2, 8, 5, 5),
    ),
    "product": (ALIKE + ELTWISE.format("operation: PROD"), (2, 8, 5, 5)),
    "greatest": (ALIKE + ELTWISE.format("operation: MAX"), (2, 8, 5, 5)),
    "relu apart": (PRE + 'layer { name: "r" type: "ReLU" bottom: "c" top: "r" }', (2, 8, 5, 5)),
    "sigmoid": (PRE + 'layer { name: "r" type: "Sigmoid" bottom: "c" top: "c" }', (2, 8, 5, 5)),
    "tanh apart": (PRE + 'layer { name: "r" type: "TanH" bottom: "c" top: "r" }', (2, 8, 5, 5)),
    "sigmoid of channels that fill no block": (
        PRE.replace("32", "20")
        + 'layer { name: "r" type: "Sigmoid" bottom: "c" top: "c" }'
        + AFTER.replace('"s"', '"c"'),
        (2, 8, 5, 5),
    ),
    "relu, conv": (PRE + RECT + NEXT.format("z", "num_output: 20 kernel_size: 3 pad: 1"), (2, 8, 9, 7)),
    "relu of channels that fill no block, conv": (
        PRE.replace("32", "20") + RECT + NEXT.format("z", "num_output: 16 kernel_h: 3 kernel_w: 5 pad_w: 1"),
        (2, 8, 9, 7),
    ),
    "relu, conv in groups": (PRE + RECT + NEXT.format("z", "num_output: 64 group: 2 kernel_size: 3"), (2, 8, 9, 7)),
    "relu, depthwise conv": (PRE + RECT + NEXT.format("z", "num_output: 32 group: 32 kernel_size: 3"), (2, 8, 9, 7)),
    "relu, dilated conv": (
        PRE + RECT + NEXT.format("z", "num_output: 16 kernel_size: 3 dilation: 2 pad: 1"),
        (1, 8, 9, 7),
    ),
    "relu, conv with strides": (PRE + RECT + NEXT.format("z", "num_output: 16 kernel_size: 3 stride: 2"), (2, 8, 9, 7)),
    "relu, conv with much pad": (PRE + RECT + NEXT.format("z", "num_output: 16 kernel_size: 1 pad: 1"), (2, 8, 9, 7)),
    "leaky relu, conv": (PRE + RELU + NEXT.format("z", "num_output: 16 kernel_size: 3"), (2, 8, 9, 7)),
    "relu apart, conv": (
        PRE + RECT.replace('top: "c"', 'top: "s"') + AFTER,
        (2, 8, 9, 7),
    ),
    "relu, two convs": (PRE + RECT + TWO, (2, 8, 9, 7)),
    "relu, three convs": (PRE + RECT + TWO + NEXT.format("x", "num_output: 8 kernel_size: 1"), (2, 8, 9, 7)),
    "two convs without a relu": (PRE + TWO, (2, 8, 9, 7)),
    "norm, relu, conv and a sum": (
        PRE + NORM + RECT + NEXT.format("d", "num_output: 32 kernel_size: 3 pad: 1") + ELTWISE.format(""),
        (2, 8, 9, 7),
    ),
    "an operation that oneDNN does not compute": (
        PRE + 'layer { name: "w" type: "Power" bottom: "c" top: "w" power_param { power: 2 } }',
        (2, 8, 5, 5),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_both_roads_agree(case: str) -> None:
    body, shape = CASES[case]
    with road("numpy"):
        expected = passes(build(body, shape))
    with road("onednn"):
        net = build(body, shape)
        for _ in range(3):
            assert_alike(passes(net), expected)
        assert_alike(passes(build(body, shape)), expected)


@pytest.mark.parametrize("case", CASES)
def test_gradients_agree_where_nobody_looks_at_blobs(case: str) -> None:
    body, shape = CASES[case]
    found = {}
    for name in ("numpy", "onednn"):
        with road(name):
            net, rng = build(body, shape), np.random.default_rng(4)
            noise = {top: rng.standard_normal(net.blobs[top].shape).astype(np.float32) for top in net.outputs}
            for number in range(2):
                net.forward()
                found[name, number] = net.gradient(noise, "data")
    assert_alike(found["onednn", 0], found["numpy", 0])
    assert_alike(found["onednn", 1], found["onednn", 0], 0)


TRAINED = {
    "norm": PRE + NORM + RELU + AFTER.replace('"s"', '"c"'),
    "norm of channels that fill no block": PRE.replace("32", "20") + NORM + RELU + AFTER.replace('"s"', '"c"'),
    "norm apart": PRE + APART + AFTER,
    "norm without a scale": PRE + NORM.splitlines()[0] + AFTER.replace('"s"', '"c"'),
    "norm of rows": FC.format("num_output: 10") + NORM.replace('"c"', '"f"'),
}


@pytest.mark.parametrize("case", TRAINED)
def test_both_roads_agree_in_training(case: str) -> None:
    shape = (6, 8, 7, 7)
    with road("numpy"):
        net = build(TRAINED[case], shape, TRAIN)
        expected = [passes(net) for _ in range(2)]
    with road("onednn"):
        net = build(TRAINED[case], shape, TRAIN)
        for wanted in expected:
            wanted = {k: v for k, v in wanted.items() if k not in ("c weight 1 diff", "f weight 1 diff")}
            assert_alike(passes(net), wanted, 1e-4)  # without the biases' that normalization takes away


def test_training_norms_run_on_onednn() -> None:
    with road("onednn"):
        net = build(TRAINED["norm"], (6, 8, 7, 7), TRAIN)
        passes(net)
        forward, backward = captured(net), captured(net, "backward")
    assert [name for name in forward if name.startswith("batch") and "gather" not in name] == [
        "batch_normalization_forward",
        "batch_normalization_forward",
    ]
    assert backward.count("batch_normalization_backward") == 2
    assert not [name for name in backward if name.startswith(("batch_norm_", "scale_", "bias_"))]


@pytest.mark.parametrize(
    ("case", "calls"),
    [
        ("conv, relu", ["convolution_forward"]),
        ("conv, norm, relu", ["convolution_forward"]),
        ("norm apart", ["convolution_forward", "batch_normalization_forward", "batch_normalization_forward"]),
        ("norm apart, its scale in place", ["convolution_forward", "batch_normalization_forward"]),
        (
            "norm and scale of a changed blob",
            [
                "convolution_forward",
                "batch_normalization_forward",
                "reorder",
                "batch_normalization_forward",
                "eltwise_forward",
            ],
        ),
        ("concat", ["convolution_forward", "convolution_forward", "concat"]),
        ("sum, relu", ["convolution_forward", "convolution_forward"]),
        ("sum, weighted", ["convolution_forward", "convolution_forward", "sum"]),
        ("max", ["convolution_forward", "pooling_forward"]),
        ("sigmoid", ["convolution_forward", "eltwise_forward"]),
        ("tanh apart", ["convolution_forward", "eltwise_forward"]),
        ("average, padded and hanging over", ["convolution_forward", "reorder", "ave_pool_forward"]),
        ("inner product of many", ["inner_product_forward"]),
    ],
)
def test_what_is_joined_and_what_numpy_does(case: str, calls: list[str]) -> None:
    with road("onednn"):
        net = build(*CASES[case])
        net.forward()
        assert captured(net) == calls


RESIDUAL = """
layer { name: "p" type: "Convolution" bottom: "data" top: "p" convolution_param { num_output: 32 kernel_size: 1 } }
layer { name: "d" type: "Convolution" bottom: "p" top: "d" convolution_param { num_output: 32 kernel_size: 1 } }
layer { name: "b" type: "BatchNorm" bottom: "d" top: "d" }
layer { name: "s" type: "Scale" bottom: "d" top: "d" scale_param { bias_term: true } }
layer { name: "e" type: "Eltwise" bottom: "p" bottom: "d" top: "e" }
layer { name: "r" type: "ReLU" bottom: "e" top: "e" }
"""
REWRITTEN = (
    RESIDUAL
    + 'layer { name: "f" type: "Flatten" bottom: "p" top: "f" } layer { name: "q" type: "ReLU" bottom: "f" top: "f" }'
)


@pytest.mark.parametrize("body", [RESIDUAL, REWRITTEN])
def test_a_sums_operand_that_was_left_out_is_there_for_who_asks(body: str) -> None:
    """Unless what it is computed from is overwritten later in the pass: then it is not left out."""
    with road("numpy"):
        other = build(body, (2, 8, 5, 5))
        other.forward()
    with road("onednn"):
        net = build(body, (2, 8, 5, 5))
        for _ in range(3):
            net.forward()
            assert ("binary" in captured(net)) == (body is REWRITTEN)
            assert_alike({"e": net.blobs["e"].data}, {"e": other.blobs["e"].data})
        assert_alike({"d": net.blobs["d"].data}, {"d": other.blobs["d"].data})
        net.forward()  # somebody looks at it, so that it is computed from now on
        assert "binary" in captured(net)
        assert_alike({"d": net.blobs["d"].data}, {"d": other.blobs["d"].data})


def test_norms_are_folded_into_the_gradients_weights() -> None:
    body, shape = CASES["conv, norm, relu"]
    with road("onednn"):
        net = build(body, shape)
        net.forward()
        net.gradient({"c": 1.0}, "data")
        names = captured(net, "gradient")
    assert "convolution_backward_data" in names
    assert "batch_normalization_forward" not in names


@pytest.mark.parametrize(
    ("case", "calls"),
    [
        ("relu, conv", ["reorder", "binary", "convolution_forward"]),
        ("relu, two convs", ["reorder", "convolution_backward_data", "reorder", "binary", "convolution_forward"]),
        ("two convs without a relu", ["reorder", "convolution_backward_data", "reorder", "convolution_forward"]),
        ("relu, conv with strides", ["reorder", "convolution_backward_data", "binary", "binary"]),
        ("leaky relu, conv", ["reorder", "convolution_backward_data", "eltwise_backward"]),
    ],
)
def test_what_joins_a_gradient(case: str, calls: list[str]) -> None:
    """Up to the last convolution's own: sums of diffs, and a ReLU's derivative, which is a mask of bytes."""
    body, shape = CASES[case]
    with road("onednn"):
        net = build(body, shape)
        net.forward()
        net.gradient(dict.fromkeys(net.outputs, 1.0), "data")
        names = [name for name in captured(net, "gradient") if name != "copy"]
    assert names[: len(calls)] == calls


def test_turned_weights_are_made_anew_when_they_were_written() -> None:
    body, shape = CASES["relu, conv"]
    found = {}
    for name in ("numpy", "onednn"):
        with road(name):
            net = build(body, shape)
            for factor in (1, -2):
                net.params["z"][0].data[...] *= factor
                net.forward()
                found[name, factor] = net.gradient({"z": 1.0}, "data")
    for factor in (1, -2):
        assert_alike(found["onednn", factor], found["numpy", factor])


def test_the_profile_counts_what_onednn_refused() -> None:
    with road("onednn"):
        profile = build(*CASES["average, padded and hanging over"]).profile(2)
        assert profile.refused == {"ave_pool_forward": 1, "ave_pool_backward": 1}
        assert "by NumPy, because oneDNN has nothing for them: ave_pool_backward 1 times" in str(profile)
        assert not build(*CASES["conv, relu"]).profile(2).refused
    with road("numpy"):
        assert not build(*CASES["average, padded and hanging over"]).profile(2).refused
