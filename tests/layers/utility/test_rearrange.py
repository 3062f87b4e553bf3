"""Layers that only move values, against NumPy's own moves."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


def darknet_reorg(x, s):
    """Place by place, as YOLO v2's reorg layer counts them."""
    n, c, h, w = x.shape
    flat, top, less = x.ravel(), np.zeros(x.size, np.float32), c // s**2
    for item, k, j, i in np.ndindex(n, c, h, w):
        offset, channel = divmod(k, less)
        row, column = j * s + offset // s, i * s + offset % s
        top[i + w * (j + h * (k + c * item))] = flat[column + w * s * (row + h * s * (channel + less * item))]
    return top.reshape(n, c * s * s, h // s, w // s)


def darknet_reverse(x, s):
    """The same loop, read the other way."""
    n, c, h, w = x.shape
    less = c // s**2
    top = np.zeros((n, less, h * s, w * s), np.float32)
    for item, k, j, i in np.ndindex(x.shape):
        offset, channel = divmod(k, less)
        top[item, channel, j * s + offset // s, i * s + offset % s] = x[item, k, j, i]
    return top


def depth_to_space(x, b):
    """tf.nn.depth_to_space of channels last."""
    n, h, w, c = x.shape
    top = np.zeros((n, h * b, w * b, c // b**2), np.float32)
    for item, y, x_, k in np.ndindex(top.shape):
        top[item, y, x_, k] = x[item, y // b, x_ // b, (y % b * b + x_ % b) * top.shape[3] + k]
    return top


def shuffle(x, group):
    parts = np.split(x, group, axis=1)
    return np.stack([parts[k % group][:, k // group] for k in range(x.shape[1])], axis=1)


MOVES = {
    'type: "Permute" permute_param { order: 0 order: 2 order: 3 order: 1 }': lambda x: x.transpose(0, 2, 3, 1),
    'type: "Permute" permute_param { order: 3 order: 1 }': lambda x: x.transpose(3, 1, 0, 2),
    'type: "Permute"': lambda x: x,
    'type: "Transpose" transpose_param { dim: 3 dim: 0 dim: 1 dim: 2 }': lambda x: x.transpose(3, 0, 1, 2),
    'type: "Reverse"': lambda x: x[::-1],
    'type: "Reverse" reverse_param { axis: 2 }': lambda x: x[:, :, ::-1],
    'type: "ShuffleChannel" shuffle_channel_param { group: 4 }': lambda x: shuffle(x, 4),
    'type: "Reorg" reorg_param { stride: 2 }': lambda x: darknet_reorg(x, 2),
    'type: "Reorg" reorg_param { stride: 2 reverse: true }': lambda x: darknet_reverse(x, 2),
    'type: "Flip"': lambda x: x[..., ::-1],
    'type: "Flip" flip_param { flip_height: true }': lambda x: x[..., ::-1, ::-1],
    'type: "Flip" flip_param { flip_width: false flip_height: true }': lambda x: x[..., ::-1, :],
    'type: "DepthToSpace" depth_to_space_param { block_size: 2 }': lambda x: depth_to_space(x, 2),
    'type: "DepthToSpace" depth_to_space_param { block_size: 2 data_format: "NCHW" }': lambda x: depth_to_space(
        x.transpose(0, 2, 3, 1), 2
    ).transpose(0, 3, 1, 2),
}


@pytest.mark.parametrize("text", MOVES)
def test_they_move_as_defined(text):
    case = build(text, [(2, 12, 6, 4)])
    rng = np.random.default_rng(0)
    fill(case, rng)
    (top,) = case.forward()
    np.testing.assert_array_equal(top, MOVES[text](case.bottom[0].data))
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_other_shapes():
    case = build('type: "Permute" permute_param { order: 1 order: 0 }', [(2, 3)])
    case.reshape((4, 5))
    fill(case, np.random.default_rng(1))
    np.testing.assert_array_equal(case.forward()[0], case.bottom[0].data.T)
    case.reshape((0, 5))
    assert case.forward()[0].shape == (5, 0)


@pytest.mark.parametrize(
    ("text", "shape", "says"),
    [
        ('type: "Permute" permute_param { order: 1 order: 1 }', (2, 3), r"order \[1, 1\] must name axes of bottom"),
        (
            'type: "Transpose" transpose_param { dim: 1 }',
            (2, 3),
            r"dim \[1\] must name every axis of bottom shape \(2, 3\)",
        ),
        ('type: "Transpose" transpose_param { dim: 1 dim: -1 }', (2, 3), r"dim \[1, -1\] must name every axis"),
        ('type: "Reverse" reverse_param { axis: 2 }', (2, 3), "axis: 2 is outside bottom 0"),
        ('type: "Permute" permute_param { order: 2 }', (2, 3), r"order \[2\] must name axes of bottom shape \(2, 3\)"),
        (
            f'type: "Permute" permute_param {{ {" ".join(f"order: {i}" for i in range(6, -1, -1))} }}',
            (2,) * 7,
            "moves more than 6 axes",
        ),
        ('type: "ShuffleChannel" shuffle_channel_param { group: 2 }', (1, 3), "group: 2 must divide the channels"),
        ('type: "Reorg" reorg_param { stride: 2 }', (1, 4, 3, 4), "stride: 2 must divide height and width"),
        ('type: "Reorg" reorg_param { stride: 2 reverse: true }', (1, 6, 3, 4), "stride: 2 must divide the channels"),
        ('type: "Flip"', (3,), "must have 2 axes at least, height and width, got shape"),
        ('type: "DepthToSpace" depth_to_space_param { block_size: 2 }', (1, 4, 4, 3), "block_size: 2 squared must"),
        ('type: "DepthToSpace" depth_to_space_param { data_format: "X" }', (1, 4, 4, 3), 'data_format: "X" is not kno'),
    ],
)
def test_errors(text, shape, says):
    with pytest.raises(LayerError, match=says):
        build(text, [shape])
