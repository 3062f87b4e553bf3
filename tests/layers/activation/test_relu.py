"""ReLU: what stands at zero, and which data its backward asks for."""

import numpy as np
import pytest

from caffepy.proto.caffe_pb2 import TEST, TRAIN
from tests.layers.runner import build


@pytest.mark.parametrize("slope", [0, 0.25])
def test_zero_is_on_the_negative_side(slope):
    case = build(f'type: "ReLU" relu_param {{ negative_slope: {slope} }}', [(3,)])
    case.bottom[0].data[...] = [-0.0, 0.0, 1e-30]
    case.forward()
    case.top[0].diff[...] = 1
    np.testing.assert_array_equal(case.backward()[0], [slope, slope, 1])


@pytest.mark.parametrize(
    ("names", "phase", "slope", "reads"),
    [
        ('bottom: "x" top: "y"', TEST, 0, ("bottom",)),
        ('bottom: "x" top: "x"', TEST, 0, ("top",)),
        ('bottom: "x" top: "x"', TEST, 0.1, ("top",)),
        ('bottom: "x" top: "x"', TEST, -0.1, ("bottom",)),  # which it has overwritten itself
        ('bottom: "x" top: "y"', TRAIN, 0, ("bottom",)),
        ('bottom: "x" top: "x"', TRAIN, 0, ()),
        ('bottom: "x" top: "x"', TRAIN, -0.1, ()),
    ],
)
def test_reads(names, phase, slope, reads):
    case = build(f'type: "ReLU" {names} relu_param {{ negative_slope: {slope} }}', [(2,)], phase)
    assert case.layer.reads == reads


@pytest.mark.parametrize("slope", [0.0, 0.5, -0.5])
def test_training_in_place_survives_what_a_later_layer_writes(slope):
    case = build(f'type: "ReLU" bottom: "x" top: "x" relu_param {{ negative_slope: {slope} }}', [(4,)], TRAIN)
    case.bottom[0].data[...] = [-2, -1, 1, 2]
    case.forward()
    case.top[0].data[...] = [1, -1, 0, -1]  # Dropout or Scale in place
    case.top[0].diff[...] = [1, 2, 3, 4]
    np.testing.assert_array_equal(case.backward()[0], [slope, 2 * slope, 3, 4])
