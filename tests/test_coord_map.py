"""caffe.coord_map: maps against coordinates counted by hand, FCN's offsets, and what cannot be mapped."""

from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy import coord_map
from caffepy import layers as L
from caffepy.coord_map import coord_map_from_to, crop
from caffepy.net_spec import NetSpec, Top
from caffepy.net_spec import params as P
from caffepy.proto.caffe_pb2 import NetParameter


def up_and_down(**changed: Any) -> tuple[Top, Top]:
    """data -> convolution -> pooling by `pool` -> deconvolution by `up`; (data, deconvolution)."""
    s = {"kernel_size": 3, "stride": 1, "pad": 0, "pool": 2, "up": 2, "up_pad": 0, "up_kernel": 4} | changed
    data = L.Input(shape={"dim": [2, 1, 100, 100]})
    conv = L.Convolution(data, num_output=10, kernel_size=s["kernel_size"], stride=s["stride"], pad=s["pad"])
    pool = L.Pooling(conv, pool=P.Pooling.MAX, kernel_size=s["pool"], stride=s["pool"])
    settings = {"num_output": 10, "kernel_size": s["up_kernel"], "stride": s["up"], "pad": s["up_pad"]}
    return data, L.Deconvolution(pool, convolution_param=settings)


@pytest.mark.parametrize(
    ("changed", "scale", "shift"),
    [
        ({}, 1, 0),
        ({"pool": 4, "up": 4, "up_kernel": 8}, 1, -1),
        ({"pad": 7}, 1, -7),
        ({"up_pad": 7}, 1, 7),
        ({"pool": 3}, 1.5, -0.25),
        ({"kernel_size": [3, 5], "pad": [0, 1]}, 1, [0, 0]),
        ({"kernel_size": [3, 5], "stride": [1, 2], "pad": [0, 10]}, [1, 2], [0, -10]),
    ],
)
def test_map_through_convolution_pooling_and_deconvolution(changed: dict[str, Any], scale: Any, shift: Any) -> None:
    data, top = up_and_down(**changed)
    axis, found_scale, found_shift = coord_map_from_to(top, data)
    assert axis == 1
    np.testing.assert_allclose(found_scale, scale)
    np.testing.assert_allclose(found_shift, shift)
    # an identity over it changes nothing, wherever the walk starts
    same = L.Convolution(L.ReLU(top, in_place=True), num_output=1, kernel_size=1)
    np.testing.assert_array_equal(coord_map_from_to(same, data)[2], found_shift)


def test_map_finds_where_a_pixel_goes() -> None:
    """A one at 20 comes out of the net around the place that the map says is 20."""
    data = L.Input(shape={"dim": [1, 1, 41, 41]})
    ones = {"num_output": 1, "bias_term": False, "weight_filler": {"type": "constant", "value": 1}}
    down = L.Convolution(data, kernel_size=5, stride=2, pad=3, **ones)
    top = L.Deconvolution(down, convolution_param={"kernel_size": 3, "stride": 2, "pad": 0, **ones})
    net = caffe.Net(top.to_proto(), caffe.TEST)
    net.blobs["Input1"].data[0, 0, 20, 20] = 1
    (out,) = net.forward().values()
    weights = out[0, 0].sum(axis=0)
    centre = (weights * np.arange(len(weights))).sum() / weights.sum()
    _, scale, shift = coord_map_from_to(top, data)
    np.testing.assert_allclose(scale * centre + shift, 20)


def test_settings_by_height_and_width() -> None:
    data = L.Input(shape={"dim": [1, 1, 9, 9]})
    pool = L.Pooling(data, pooling_param={"kernel_h": 3, "kernel_w": 5, "stride_h": 1, "stride_w": 2})
    axis, scale, shift = coord_map_from_to(data, pool)
    assert axis == 1
    np.testing.assert_allclose(scale, [1, 0.5])
    np.testing.assert_allclose(shift, [-1, -1])


def test_crop_of_a_crop() -> None:
    data, top = up_and_down(pool=4, up=4, up_kernel=8)
    cropped = L.Crop(top, data, axis=2, offset=5)
    assert coord_map_from_to(cropped, data)[2] == 4


def test_compose_and_inverse() -> None:
    first, second = (1, 2.0, 3.0), (None, 5.0, 7.0)
    assert coord_map.compose(first, second) == (1, 10.0, 17.0)
    assert coord_map.compose(coord_map.inverse(first), first) == (1, 1.0, 0.0)
    with pytest.raises(coord_map.AxisMismatchException, match=r"after 1.*after 2"):
        coord_map.compose(first, (2, 1, 0))


def fcn(finest: int, width: int = 2) -> NetSpec:
    """Long, Shelhamer & Darrell's net over VGG-16 with a stride of `finest`: 32, 16 or 8."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [1, 3, 64, 80]})
    below = n.data
    for block, depth in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(1, depth + 1):
            pad = 100 if (block, i) == (1, 1) else 1
            n[f"conv{block}_{i}"] = L.Convolution(below, kernel_size=3, pad=pad, num_output=width)
            below = n[f"relu{block}_{i}"] = L.ReLU(n[f"conv{block}_{i}"], in_place=True)
        below = n[f"pool{block}"] = L.Pooling(below, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.fc6 = L.Convolution(below, kernel_size=7, num_output=width)
    n.drop6 = L.Dropout(n.fc6, dropout_ratio=0.5, in_place=True)
    score = n.score_fr = L.Convolution(n.drop6, kernel_size=1, num_output=width)
    for pool, stride in (("pool4", 16), ("pool3", 8)):
        if finest <= stride:
            settings = {"num_output": width, "kernel_size": 4, "stride": 2, "bias_term": False}
            n[f"upscore_{pool}"] = L.Deconvolution(score, convolution_param=settings, param=[{"lr_mult": 0}])
            n[f"score_{pool}"] = L.Convolution(n[pool], kernel_size=1, num_output=width)
            n[f"score_{pool}c"] = crop(n[f"score_{pool}"], n[f"upscore_{pool}"])
            score = n[f"fuse_{pool}"] = L.Eltwise(n[f"upscore_{pool}"], n[f"score_{pool}c"], operation=P.Eltwise.SUM)
    last = {"num_output": width, "kernel_size": 2 * finest, "stride": finest, "bias_term": False}
    n.upscore = L.Deconvolution(score, convolution_param=last, param=[{"lr_mult": 0}])
    n.score = crop(n.upscore, n.data)
    return n


def crops(net: NetParameter) -> dict[str, tuple[int, list[int]]]:
    found = [layer for layer in net.layer if layer.type == "Crop"]
    return {layer.name: (layer.crop_param.axis, list(layer.crop_param.offset)) for layer in found}


@pytest.mark.parametrize(
    ("finest", "offsets"),
    [
        (32, {"score": 19}),
        (16, {"score_pool4c": 5, "score": 27}),
        (8, {"score_pool4c": 5, "score_pool3c": 9, "score": 31}),
    ],
)
def test_offsets_of_fcn(finest: int, offsets: dict[str, int]) -> None:
    """As in the published prototxts of fcn.berkeleyvision.org."""
    param = fcn(finest).to_proto()
    assert crops(param) == {name: (2, [offset]) for name, offset in offsets.items()}
    net = caffe.Net(param, caffe.TEST)
    assert net.blobs["score"].data.shape == (1, 2, 64, 80)


def test_what_cannot_be_mapped() -> None:
    data, top = up_and_down()
    with pytest.raises(RuntimeError, match="no blob in common"):
        coord_map_from_to(L.InnerProduct(top, num_output=10), data)
    with pytest.raises(coord_map.UndefinedMapException, match="InnerProduct"):
        coord_map.coord_map(L.InnerProduct(top, num_output=10).fn)
    with pytest.raises(coord_map.UndefinedMapException, match="kernel_size"):
        coord_map.coord_map(L.Pooling(top, global_pooling=True).fn)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pool": 3}, "same strides"),
        ({"up_pad": 10}, "starts inside"),
        ({"up_kernel": 5}, "between two pixels"),
    ],
)
def test_what_cannot_be_cropped(changed: dict[str, Any], message: str) -> None:
    data, top = up_and_down(**changed)
    with pytest.raises(AssertionError, match=message):
        crop(top, data)


def test_a_deep_net_of_shortcuts_is_walked_once() -> None:
    data = top = L.Input(shape={"dim": [1, 4, 8, 8]})
    for _ in range(60):
        top = L.Eltwise(top, L.Convolution(top, kernel_size=3, pad=1, num_output=4))
    assert coord_map_from_to(top, data)[2] == 0
