"""Convolution by Winograd's tiles, beside the definition in double precision."""

import numpy as np
import pytest

from caffepy.cpu import tiles
from caffepy.cpu.record import Operation
from caffepy.cpu.tiles import LARGE, SMALL, TAPS, Tiles, tiles_for
from caffepy.device.threads import set_threads
from caffepy.layers.vision.window import Window
from tests.cpu import test_training
from tests.cpu.roads import assert_alike, build, captured, needs_onednn, passes, road

CONV = 'layer {{ name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {{ kernel_size: 3 {} }} }}'
RELU = 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" relu_param { negative_slope: 0.1 } }'
NORM = """layer { name: "b" type: "BatchNorm" bottom: "c" top: "c" }
          layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }"""
SHAPES = {
    "one tile": ((1, 16, 2, 2), 16, 1),
    "a tile cut short": ((1, 16, 7, 9), 32, 1),
    "without pad": ((2, 32, 11, 6), 16, 0),
    "more pad than the window needs": ((1, 16, 5, 8), 48, 2),
    "eight images": ((8, 16, 13, 14), 16, 1),
    "rows and images in blocks": ((3, 64, 30, 61), 64, 1),
}


@pytest.fixture(autouse=True)
def _onednn() -> object:
    with road("onednn"):
        yield


@pytest.fixture(params=[SMALL, LARGE], ids=["small", "large"])
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Tiles:
    """The tiles that every convolution is done with, whether they pay or not."""
    monkeypatch.setattr(tiles, "_PAYS", np.inf)
    monkeypatch.setattr(tiles, "_SIZES", (request.param,))
    monkeypatch.setattr(tiles, "_BLOCK", 1 << 19)
    found: Tiles = request.param
    return found


def defined(data: np.ndarray, weight: np.ndarray, bias: np.ndarray | float, pad: int) -> np.ndarray:
    """Convolution from its definition."""
    padded = np.pad(data.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    height, width = padded.shape[2] - 2, padded.shape[3] - 2
    found = np.zeros((len(data), len(weight), height, width))
    for down in range(TAPS):
        for right in range(TAPS):
            seen = padded[:, :, down : down + height, right : right + width]
            found += np.einsum("nchw,oc->nohw", seen, weight[:, :, down, right].astype(np.float64), optimize=True)
    return found + np.reshape(bias, (-1, 1, 1))


def difference(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(found - exact).max() / np.abs(exact).max())


@pytest.mark.parametrize("edge", [SMALL, LARGE])
def test_transforms_give_a_correlation_of_three_taps(edge: Tiles) -> None:
    rng = np.random.default_rng(0)
    pixels, taps = rng.standard_normal(edge.side), rng.standard_normal(TAPS)
    found = edge.result @ ((edge.weights @ taps) * (edge.source @ pixels))
    np.testing.assert_allclose(found, np.correlate(pixels, taps), rtol=1e-12)


@needs_onednn
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_gradient_as_defined(chosen: Tiles, shape: str) -> None:
    extents, outputs, pad = SHAPES[shape]
    net = build(CONV.format(f"num_output: {outputs} pad: {pad}") + RELU, extents)
    weight, bias = (blob.data.copy() for blob in net.layers[1].blobs)
    noise = np.random.default_rng(5).standard_normal(net.blobs["c"].shape).astype(np.float32)
    net.forward()
    gradient = net.gradient({"c": noise}, "data")["data"]
    assert "matmul" in captured(net, "forward")
    assert "matmul" in captured(net, "gradient")
    exact = defined(net.blobs["data"].data, weight, bias, pad)
    assert difference(net.blobs["c"].data, np.where(exact > 0, exact, 0.1 * exact)) < 1e-5
    turned = weight.swapaxes(0, 1)[:, :, ::-1, ::-1]
    diff = np.where(net.blobs["c"].data > 0, noise, np.float32(0.1) * noise)
    assert difference(gradient, defined(diff, turned, 0.0, TAPS - 1 - pad)) < 1e-5


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
def test_normalized_and_with_diffs_of_weights_as_by_numpy(chosen: Tiles, bias: bool) -> None:
    body = CONV.format(f"num_output: 32 pad: 1 bias_term: {str(bias).lower()}") + NORM + RELU
    net = build(body, (2, 16, 9, 10))
    with road("numpy"):
        expected = passes(build(body, (2, 16, 9, 10)))
    for _ in range(2):
        assert_alike(passes(net), expected)
    assert "matmul" in captured(net, "forward")


@needs_onednn
@pytest.mark.parametrize("body", [CONV + RELU, CONV + NORM], ids=["relu", "norm"])
def test_weights_and_bias_written_between_passes_count(chosen: Tiles, body: str) -> None:
    body = body.replace("{{", "{").replace("}}", "}").replace("{} }", "num_output: 16 pad: 1 }")
    net, views = build(body, (1, 16, 8, 8)), []
    for number in range(4):
        with road("numpy"):
            other = build(body, (1, 16, 8, 8))
            for index, blob in enumerate(other.params["c"]):
                blob.data[...] = net.params["c"][index].data
            expected = passes(other)
        assert_alike(passes(net), expected)
        if number == 2:
            views = [blob.data for blob in net.params["c"]]
        for blob in net.params["c"] if number < 2 else []:
            blob.data[...] *= 1.5
        for view in views:
            view[...] *= -0.5


@needs_onednn
def test_weights_that_are_learned(chosen: Tiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_training, "NET", test_training.NET.replace("num_output: 20", "num_output: 32"))
    assert_alike(test_training.train("onednn"), test_training.train("numpy"), 1e-4)


@needs_onednn
def test_the_same_bits_with_one_thread_and_with_two(chosen: Tiles) -> None:
    found = []
    try:
        for threads in (1, 2):
            set_threads(threads)
            found.append(passes(build(CONV.format("num_output: 512 pad: 1") + RELU, (2, 256, 14, 14))))
    finally:
        set_threads(None)
    for name in ("c data", "gradient"):
        np.testing.assert_array_equal(found[0][name], found[1][name])


@needs_onednn
@pytest.mark.parametrize(
    "other", ["group: 2", "stride: 2", "dilation: 2", "kernel_size: 5", "pad: 3", "num_output: 24", "axis: 1"]
)
def test_other_convolutions_go_the_direct_way(chosen: Tiles, other: str) -> None:
    body = CONV.replace("kernel_size: 3", "kernel_size: 5" if "kernel" in other else "kernel_size: 3")
    outputs = "" if "num_output" in other else "num_output: 32"
    net = build(body.format(f"{outputs} {other.replace('kernel_size: 5', '')}"), (1, 16, 12, 12))
    if other == "axis: 1":
        net = build(body.format("num_output: 32 axis: 1"), (1, 16, 40))
    net.forward()
    assert "matmul" not in captured(net)


@pytest.mark.parametrize(
    ("channels", "outputs", "extent", "edge"),
    [
        (64, 64, 224, None),
        (128, 128, 112, 4),
        (256, 512, 28, 4),
        (512, 512, 14, 2),
        (512, 512, 7, None),
        (16, 64, 55, None),
        (64, 32, 8, None),
    ],
)
def test_tiles_are_chosen_by_shape(channels: int, outputs: int, extent: int, edge: int | None) -> None:
    constants = {"window": Window((3, 3), (1, 1), (1, 1), (1, 1)), "group": 1}
    operation = Operation("convolution_forward", print, (), (), constants, ())
    found = tiles_for(operation, (1, channels, extent, extent), (1, outputs, extent, extent))
    assert (None if found is None else found.edge) == edge
