"""Why waifu2x's gradient differs between the CPU's roads in a few places: units that are zero but for rounding."""

import numpy as np

import caffepy as caffe
from tests.cpu.roads import needs_onednn, road
from tests.net.test_whole_nets import gradient
from tests.shared import shared

ROUNDING = 2**-24


@needs_onednn
def test_places_that_differ_see_a_unit_whose_sign_is_rounding() -> None:
    """The net is seven convolutions of 3 x 3: the k-th sees 2 k + 1 pixels along each axis, from its own place on.

    A unit is a sum of 9 c products. In another order each of its sums is rounded otherwise, by 2^-24 of it at most: so
    a unit may change its sign only where it is smaller than 9 c 2^-24 times what its layer's values are in general.
    """
    expected = np.load(shared("golden/nets/real_waifu2x_vgg7.npz"))
    blobs: dict[str, dict[str, np.ndarray]] = {}
    gradients = {}
    for engine in ("numpy", "onednn"):
        with road(engine):
            net = caffe.Net(
                str(shared("models/waifu2x-vgg7/srcnn.prototxt")),
                str(shared("models/waifu2x-vgg7/scale2.0x_model.json.caffemodel")),
                caffe.TEST,
            )
            net.blobs["input"].reshape(*expected["x"].shape)
            net.forward(input=expected["x"])
            blobs[engine] = {name: blob.data.copy() for name, blob in net.blobs.items()}
            gradients[engine] = gradient(net, {"conv7": expected["outdiff/conv7"]}, "input")
    seen = np.zeros(expected["x"].shape[2:], bool)
    for k in range(1, 7):
        ours, theirs = blobs["onednn"][f"conv{k}"], blobs["numpy"][f"conv{k}"]
        flipped = (ours > 0) != (theirs > 0)
        products = net.params[f"conv{k}_layer"][0].data[0].size
        bound = products * ROUNDING * np.abs(theirs).mean()
        assert np.abs(ours[flipped]).max(initial=0) < bound
        assert np.abs(theirs[flipped]).max(initial=0) < bound
        for _, _, y, x in np.argwhere(flipped):
            seen[y : y + 2 * k + 1, x : x + 2 * k + 1] = True
    error = np.abs(gradients["onednn"] - gradients["numpy"]) / np.abs(gradients["numpy"]).mean()
    assert error[..., ~seen].max() < 1e-4
    assert seen.mean() < 0.02
