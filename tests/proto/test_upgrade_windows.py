"""Windows with three axes, in the words of C3D and of N-d forks."""

import pytest

from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter
from caffepy.proto.upgrade import upgrade_net


def upgraded(text: str) -> LayerParameter:
    net = prototxt.parse_net(text)
    upgrade_net(net)
    assert upgrade_net(net) == []
    return net.layer[0]


def layer(kind: str, param: str, settings: str) -> LayerParameter:
    return prototxt.parse(f'layer {{ type: "{kind}" {param} {{ {settings} }} }}', NetParameter).layer[0]


CUBE = "kernel_size: 2 kernel_size: 3 kernel_size: 3 stride: 1 stride: 2 stride: 2 pad: 0 pad: 1 pad: 1"
SHAPES = (
    "kernel_shape { dim: 2 dim: 3 dim: 3 } stride_shape { dim: 1 dim: 2 dim: 2 } pad_shape { dim: 0 dim: 1 dim: 1 }"
)
C3D = "kernel_size: 3 kernel_depth: 2 stride: 2 temporal_stride: 1 pad: 1"


@pytest.mark.parametrize(
    "text",
    [
        f"layers {{ type: CONVOLUTION3D convolution_param {{ {C3D} }} }}",
        f'layer {{ type: "Convolution3D" convolution3d_param {{ {C3D} filter_group: 4 }} }}'.replace(
            "filter_group: 4", ""
        ),
        f'layer {{ type: "NdConvolution" convolution_param {{ {SHAPES} }} }}',
        f'layer {{ type: "Convolution" convolution_param {{ {CUBE} }} }}',
    ],
)
def test_convolution(text: str) -> None:
    assert upgraded(text) == layer("Convolution", "convolution_param", CUBE)


@pytest.mark.parametrize(
    "text",
    [
        f"layers {{ type: POOLING3D pooling_param {{ {C3D} pool: AVE }} }}",
        f'layer {{ type: "Pooling3D" pooling3d_param {{ {C3D} pool: AVE }} }}',
        f'layer {{ type: "NdPooling" pooling_param {{ {SHAPES} pool: AVE }} }}',
        f'layer {{ type: "Pooling" pooling_param {{ {CUBE} pool: AVE }} }}',
    ],
)
def test_pooling(text: str) -> None:
    assert upgraded(text) == layer("Pooling", "pooling_param", f"pool: AVE {SHAPES}")


def test_one_value_stands_for_all_axes() -> None:
    found = upgraded('layer { type: "Pooling" pooling_param { kernel_size: 2 kernel_size: 3 stride: 4 } }')
    shapes = "kernel_shape { dim: 2 dim: 3 } stride_shape { dim: 4 dim: 4 } pad_shape { dim: 0 dim: 0 }"
    assert found == layer("Pooling", "pooling_param", shapes)


def test_depths_have_defaults() -> None:
    found = upgraded("layers { type: DECONVOLUTION3D convolution_param { kernel_h: 4 kernel_w: 5 } }")
    sizes = "kernel_size: 1 kernel_size: 4 kernel_size: 5 stride: 1 stride: 1 stride: 1 pad: 0 pad: 0 pad: 0"
    assert found == layer("Deconvolution", "convolution_param", sizes)


def test_five_dimensions_for_each_input() -> None:
    net = prototxt.parse_net('input: "a" input: "b"' + "".join(f" input_dim: {i}" for i in range(10)))
    upgrade_net(net)
    assert [list(shape.dim) for shape in net.layer[0].input_param.shape] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
