"""Concat without copies: parts computed in the joined blob's memory, and that nobody can tell."""

import numpy as np
import pytest

import caffepy
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import TEST, NetParameter
from tests.cpu.roads import assert_alike, build, captured, needs_onednn, passes, road

pytestmark = needs_onednn


def conv(name: str, bottom: str, outputs: int, relu: bool = False) -> str:
    """A convolution, with its ReLU in place if asked for."""
    found = (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" '
        f"convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 }} }}"
    )
    return found + (inplace("ReLU", name) if relu else "")


def inplace(kind: str, blob: str) -> str:
    """A layer on a blob in place."""
    return f'layer {{ name: "{blob}/{kind}" type: "{kind}" bottom: "{blob}" top: "{blob}" }}'


def concat(name: str, *bottoms: str, axis: int = 1) -> str:
    """These joined."""
    given = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
    return f'layer {{ name: "{name}" type: "Concat" {given} top: "{name}" concat_param {{ axis: {axis} }} }}'


FLAT = 'layer { name: "f" type: "Flatten" bottom: "a" top: "f" }'
BOTH = conv("a", "data", 32) + conv("b", "data", 16)
DENSE = (
    conv("a", "data", 32)
    + conv("b", "a", 16, relu=True)
    + concat("ab", "a", "b")
    + conv("c", "ab", 16)
    + concat("abc", "ab", "c")
    + conv("d", "abc", 16)
    + concat("abcd", "abc", "d")
    + conv("e", "abcd", 8)
)
NETS = {
    "two parts": BOTH + concat("j", "a", "b") + conv("e", "j", 8),
    "relus in place before": conv("a", "data", 32, relu=True)
    + conv("b", "data", 16, relu=True)
    + concat("j", "a", "b")
    + conv("e", "j", 8),
    "an operation of its own in place before": BOTH + inplace("Sigmoid", "a") + concat("j", "a", "b"),
    "an operation of NumPy's in place before": BOTH + inplace("BNLL", "a") + concat("j", "a", "b"),
    "a relu in place behind": BOTH + concat("j", "a", "b") + inplace("ReLU", "j") + conv("e", "a", 8),
    "a part changed afterwards": BOTH + concat("j", "a", "b") + FLAT + inplace("ReLU", "f"),
    "a part with another reader": BOTH + conv("e", "a", 8) + concat("j", "a", "b"),
    "a blob joined with itself": BOTH + concat("j", "a", "a", "b"),
    "a blob joined twice": BOTH + concat("j", "a", "b") + concat("k", "b", "a") + conv("e", "j", 8),
    "the input is a part": conv("a", "data", 32) + concat("j", "data", "a") + conv("e", "j", 8),
    "blocks that are cut": conv("a", "data", 20) + conv("b", "data", 16) + concat("j", "a", "b") + conv("e", "j", 8),
    "a last block that is not full": BOTH + conv("c", "data", 20) + concat("j", "a", "b", "c") + conv("e", "j", 8),
    "blocks cut in the middle": BOTH + conv("c", "data", 9) + concat("j", "a", "c", "b") + conv("e", "j", 8),
    "nested": DENSE,
    "nested, of cut blocks": DENSE.replace("num_output: 32", "num_output: 24"),
    "nested, changed between": DENSE.replace(conv("c", "ab", 16), inplace("ReLU", "ab") + conv("c", "ab", 16)),
    "along another axis": BOTH.replace("num_output: 16", "num_output: 32") + concat("j", "a", "b", axis=2),
    "pooled parts": conv("c", "data", 32)
    + "".join(
        f'layer {{ name: "{n}" type: "Pooling" bottom: "c" top: "{n}" '
        f"pooling_param {{ pool: {n} kernel_size: 3 pad: 1 }} }}"
        for n in ("MAX", "AVE")
    )
    + concat("j", "MAX", "AVE", "c"),
    "read flat": BOTH + concat("j", "a", "b") + 'layer { name: "f" type: "Flatten" bottom: "j" top: "f" }',
    "cut again": BOTH
    + concat("j", "a", "b")
    + 'layer { name: "s" type: "Slice" bottom: "j" top: "x" top: "y" slice_param { slice_point: 16 } }'
    + conv("e", "y", 8)
    + inplace("ReLU", "x"),
}


@pytest.mark.parametrize("case", NETS)
@pytest.mark.parametrize("num", [1, 2])
def test_every_blob_is_what_it_is_without(case: str, num: int) -> None:
    shape = (num, 16, 6, 5)
    with road("numpy"):
        expected = passes(build(NETS[case], shape))
    with road("onednn"):
        net = build(NETS[case], shape)
        for _ in range(3):
            assert_alike(passes(net), expected)


@pytest.mark.parametrize(
    ("case", "moves"),
    [
        ("two parts", []),
        ("relus in place before", []),
        ("a relu in place behind", ["concat"]),
        ("a part changed afterwards", ["reorder"]),
        ("a blob joined with itself", ["reorder"]),
        ("a blob joined twice", ["concat"]),
        ("a last block that is not full", []),
        ("blocks cut in the middle", ["concat"]),
        ("nested", []),
        ("pooled parts", []),
    ],
)
def test_what_is_copied(case: str, moves: list[str]) -> None:
    with road("onednn"):
        net = build(NETS[case], (1, 16, 6, 5))
        net.forward()
        names = captured(net)
    assert [name for name in names if name in ("concat", "reorder")] == moves


def test_gradients_cut_nothing() -> None:
    with road("onednn"):
        net = build(NETS["nested"], (1, 16, 6, 5))
        net.forward()
        for _ in range(2):
            net.gradient({"e": 1.0}, "data")
        assert captured(net, "gradient").count("reorder") == 2  # what is given, what is asked for


@pytest.mark.parametrize("case", ["nested", "a blob joined twice", "nested, changed between", "cut again"])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_scripts_do_between(case: str, seed: int) -> None:
    """Passes over some layers, writes to blobs, views kept and dropped, gradients: all blobs, always as without."""
    body, shape = NETS[case], (1, 16, 6, 5)
    nets = {}
    for name in ("numpy", "onednn"):
        with road(name):
            nets[name] = build(body, shape)
            nets[name].forward()
    names, layers = list(nets["numpy"].blobs), list(nets["numpy"]._layer_names)
    views: dict[str, list[object]] = {"numpy": [], "onednn": []}
    chance = np.random.default_rng(seed)
    for _ in range(30):
        what, first, last = chance.integers(6), *sorted(chance.integers(1, len(layers), 2))
        blob, noise = chance.choice(names), chance.standard_normal(1000)
        for name, net in nets.items():
            with road(name):
                if what == 0:
                    net.forward()
                elif what <= 2:
                    net.forward(start=layers[first], end=layers[last])
                elif what == 3:
                    net.blobs[blob].data.flat[:: 1 + first] = np.resize(
                        noise, net.blobs[blob].data.flat[:: 1 + first].size
                    )
                elif what == 4:
                    views[name] = [] if len(views[name]) > 2 else [*views[name], net.blobs[blob].data]
                else:
                    net.forward()
                    net.gradient(dict.fromkeys(net.outputs, 1.0), "data")
        if chance.integers(2):
            found, expected = ({name: net.blobs[name].data.copy() for name in names} for net in nets.values())
            assert_alike(expected, found)


def test_a_pass_over_the_last_layers_leaves_the_first_ones_blobs() -> None:
    """Although it puts what was written to `ab` where their values are, in passes over all layers."""
    with road("onednn"):
        net = build(DENSE, (1, 16, 6, 5))
        net.forward(start="c")
        net.forward()
        net.blobs["ab"].data[...] = 7
        net.forward(start="c")
        found = {name: net.blobs[name].data.copy() for name in ("a", "b", "ab")}
    with road("numpy"):
        other = build(DENSE, (1, 16, 6, 5))
        other.forward()
    assert_alike(found, {"a": other.blobs["a"].data, "b": other.blobs["b"].data, "ab": np.full(found["ab"].shape, 7)})


def test_blobs_that_take_turns() -> None:
    param = prototxt.parse(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 16 dim: 6 dim: 5 } } }'
        + DENSE
        + concat("last", "abcd", "e"),
        NetParameter,
    )
    found = []
    for name, keep in (("numpy", []), ("onednn", []), ("onednn", ["ab", "d"])):
        with road(name):
            net = caffepy.Net(param, TEST, memory="inference", keep=keep)
            rng = np.random.default_rng(3)
            for layer in net.layers:
                for blob in layer.blobs:
                    blob.data[...] = rng.standard_normal(blob.shape) / 4
            net.blobs["data"].data[...] = rng.standard_normal(net.blobs["data"].shape)
            for _ in range(2):
                net.forward()
            found.append({blob: net.blobs[blob].data.copy() for blob in ("last", *keep)})
    assert_alike(found[1], found[0])
    assert_alike(found[2], found[0])


def test_places_and_parts_of_which_views_are_kept_have_gradients() -> None:
    body = NETS["pooled parts"].replace('top: "MAX"', 'top: "MAX" top: "places"') + conv("e", "j", 8)
    found = []
    for name in ("numpy", "onednn"):
        with road(name):
            net = build(body, (1, 16, 6, 5))
            views = [blob.data for blob in net.blobs.values()]
            for _ in range(2):
                net.forward()
                found.append(net.gradient({"e": 1.0}, "data")["data"].copy())
            assert len(views) == len(net.blobs)
    for gradient in found[1:]:
        assert_alike({"gradient": gradient}, {"gradient": found[0]})
