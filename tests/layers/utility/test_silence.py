"""Silence takes blobs out of the net's outputs."""

import numpy as np

from tests.nets import make, noise


def test_silenced_blobs_are_no_outputs_and_get_no_diff():
    net = make(
        """
        force_backward: true
        layer { name: "in" type: "Input" top: "x" top: "z" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "y" type: "Eltwise" bottom: "x" bottom: "z" top: "y" }
        layer { name: "s" type: "Silence" bottom: "x" bottom: "z" }
        """
    )
    assert net.outputs == ["y"]
    net.forward(x=noise(2, 3), z=noise(2, 3))
    for name in net.blobs:
        net.blobs[name].diff[...] = 5
    diff = noise(2, 3, seed=1)
    net.backward(y=diff)
    np.testing.assert_array_equal(net.blobs["x"].diff, diff)
    np.testing.assert_array_equal(net.gradient({"y": diff}, "z")["z"], diff)
