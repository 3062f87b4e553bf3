"""Net.gradient against backward, against differences, and against its promises."""

from collections.abc import Callable

import numpy as np
import pytest

import caffepy as caffe
from caffepy.blob import Blob
from caffepy.errors import ArgumentError, StateError, UnknownBlobError, UnknownLayerError
from tests.nets import CHAIN, FORCED, FORK, make, noise


def run(net: caffe.Net, seed: int = 0) -> caffe.Net:
    for i, name in enumerate(net.inputs):
        net.blobs[name].data[...] = noise(*net.blobs[name].shape, seed=seed + i)
    net.forward()
    return net


def through_backward(text: str, diff: np.ndarray) -> dict[str, np.ndarray]:
    """Every blob's diff, from Caffe's own road."""
    net = run(make(text))
    net.backward(**{net.outputs[0]: diff})
    return {name: blob.diff.copy() for name, blob in net.blobs.items()}


def test_it_is_what_backward_computes_with_force_backward() -> None:
    diff = noise(2, 5, seed=9)
    expected = through_backward(FORCED, diff)
    net = run(make(CHAIN))
    got = net.gradient({"fc": diff}, ["data", ("conv1", "conv1"), "pool1", "fc"])
    np.testing.assert_array_equal(got["data"], expected["data"])
    np.testing.assert_array_equal(got["conv1", "conv1"], expected["conv1"])
    np.testing.assert_array_equal(got["pool1"], expected["pool1"])
    np.testing.assert_array_equal(got["fc"], diff)


def test_the_default_is_the_inputs() -> None:
    net = run(make(FORK))
    got = net.gradient({"sum": np.ones((2, 4))})
    assert list(got) == ["x", "unused"]
    assert np.abs(got["x"]).min() > 0
    assert not got["unused"].any()


def test_it_is_the_derivative_of_the_weighted_sum_of_everything_injected() -> None:
    net = make(FORK)
    diffs = {
        "sum": noise(2, 4, seed=3),
        "side": noise(2, 4, seed=4),
        "b": noise(2, 4, seed=5),
        "a": noise(2, 4, seed=6),
    }

    def value(x: np.ndarray) -> float:
        net.forward(x=x, unused=np.zeros((2, 3)))
        return sum(float(np.vdot(d.astype(np.float64), net.blobs[name].data)) for name, d in diffs.items())

    x, direction = noise(2, 3), noise(2, 3, seed=7)
    slope = (value(x + 1e-2 * direction) - value(x - 1e-2 * direction)) / 2e-2
    value(x)
    got = net.gradient(diffs, "x")["x"]
    assert np.vdot(got, direction) == pytest.approx(slope, rel=2e-3)


def test_injections_add_up_also_in_memory_that_a_view_shares() -> None:
    text = FORK + 'layer { name: "flat" type: "Flatten" bottom: "sum" top: "flat" }'
    net = run(make(text))
    one, two = noise(2, 4, seed=1), noise(2, 4, seed=2)
    together = net.gradient({"flat": one, "sum": two}, "x")["x"]
    apart = net.gradient({"flat": one}, "x")["x"] + net.gradient({"sum": two}, "x")["x"]
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(net.gradient({"flat": one, "sum": two}, "sum")["sum"], one + two, rtol=1e-6)


def test_versions_around_an_in_place_layer() -> None:
    net = run(make(CHAIN))
    diff = noise(2, 4, 6, 6, seed=2)
    after = net.gradient({"conv1": diff}, ("conv1", "relu1"))["conv1", "relu1"]
    before = net.gradient({"conv1": diff}, "conv1")["conv1"]
    np.testing.assert_array_equal(after, diff)
    np.testing.assert_array_equal(before, diff * (net.blobs["conv1"].data > 0))
    from_before = net.gradient({("conv1", "conv1"): diff}, "conv1")["conv1"]
    np.testing.assert_array_equal(from_before, diff)


def test_nothing_else_changes() -> None:
    net = run(make("force_backward: true" + FORK))
    for blob in [*net.blobs.values(), *(b for blobs in net.params.values() for b in blobs)]:
        blob.diff[...] = 7
    before = {name: blob.data.copy() for name, blob in net.blobs.items()}
    net.gradient({"sum": np.ones((2, 4))})
    for blob in [*net.blobs.values(), *(b for blobs in net.params.values() for b in blobs)]:
        assert (blob.diff == 7).all()
    for name, data in before.items():
        np.testing.assert_array_equal(net.blobs[name].data, data)


def test_weight_gradients_are_computed_again_afterwards() -> None:
    net = run(make(FORCED))
    net.gradient({"fc": np.ones((2, 5))})
    net.backward(fc=np.ones((2, 5)))
    assert np.abs(net.params["fc"][0].diff).sum() > 0


def test_frozen_layers_and_propagate_down_do_not_block() -> None:
    frozen = CHAIN.replace('top: "fc"\n', 'top: "fc" propagate_down: false param { lr_mult: 0 } param { lr_mult: 0 }\n')
    assert frozen != CHAIN
    diff = noise(2, 5)
    np.testing.assert_array_equal(
        run(make(frozen)).gradient({"fc": diff})["data"], run(make(CHAIN)).gradient({"fc": diff})["data"]
    )


def test_no_loss_weight_enters() -> None:
    weighted = CHAIN.replace('top: "fc"\n', 'top: "fc" loss_weight: 100\n')
    diff = noise(2, 5)
    np.testing.assert_array_equal(
        run(make(weighted)).gradient({"fc": diff})["data"], run(make(CHAIN)).gradient({"fc": diff})["data"]
    )


def test_results_are_fresh_and_out_is_reused() -> None:
    net = run(make(CHAIN))
    first = net.gradient({"fc": np.ones((2, 5))})["data"]
    kept = first.copy()
    second = net.gradient({"fc": 2 * np.ones((2, 5))})["data"]
    np.testing.assert_array_equal(first, kept)
    out = np.full_like(first, np.nan)
    assert net.gradient({"fc": 2 * np.ones((2, 5))}, "data", out={"data": out})["data"] is out
    np.testing.assert_array_equal(out, second)


def test_an_earlier_gradient_leaves_nothing_behind() -> None:
    net = run(make(FORK))
    fresh = net.gradient({"side": np.ones((2, 4))}, "x")["x"]
    net.gradient({"sum": noise(2, 4), "b": noise(2, 4)}, ["x", "a"])
    np.testing.assert_array_equal(net.gradient({"side": np.ones((2, 4))}, "x")["x"], fresh)


def test_diffs_fit_by_dropped_axes_or_broadcasting_never_by_count() -> None:
    net = run(make(CHAIN))
    diff = noise(2, 5)
    expected = net.gradient({"fc": diff})["data"]
    np.testing.assert_array_equal(net.gradient({"fc": diff[:, :, None, None]})["data"], expected)
    np.testing.assert_array_equal(
        net.gradient({"fc": 1})["data"], net.gradient({"fc": np.ones((2, 5), np.float64)})["data"]
    )
    with pytest.raises(ArgumentError, match=r"diff of 'fc': shape \(5, 2\) does not fit \(2, 5\)"):
        net.gradient({"fc": diff.T})


def test_after_reshape() -> None:
    net = make(CHAIN)
    net.blobs["data"].reshape(1, 3, 8, 8)
    x = noise(2, 3, 8, 8)
    net.forward(data=x[:1])
    one = net.gradient({"fc": np.ones(5)})["data"]
    both = make(CHAIN)
    both.forward(data=x)
    np.testing.assert_allclose(one, both.gradient({"fc": np.ones(5)})["data"][:1], rtol=1e-5, atol=1e-6)


def test_it_stands_on_a_forward_pass() -> None:
    net = make(CHAIN)
    with pytest.raises(StateError, match="layer 'conv1' has not run in the last forward pass"):
        net.gradient({"fc": np.ones(5)})
    run(net)
    net.blobs["data"].data[0, 0, 0, 0] += 1
    with pytest.raises(StateError, match="input 'data' was changed since the last forward pass"):
        net.gradient({"fc": np.ones(5)})
    net.forward()
    net.gradient({"fc": np.ones(5)})


def _by_a_view(net: caffe.Net, view: np.ndarray) -> None:
    view[0, 0, 0, 0] += 1


def _by_its_memory(net: caffe.Net, view: np.ndarray) -> None:
    net.blobs["data"].share_data(Blob())


def _by_its_shape(net: caffe.Net, view: np.ndarray) -> None:
    net.blobs["data"].reshape(2, 8, 3, 8)


@pytest.mark.parametrize("change", [_by_a_view, _by_its_memory, _by_its_shape])
@pytest.mark.parametrize("times", [1, 3])
def test_an_input_that_was_changed_behind_its_back(change: Callable[[caffe.Net, np.ndarray], None], times: int) -> None:
    net = make(CHAIN)
    view = net.blobs["data"].data
    view[...] = noise(2, 3, 8, 8)
    for _ in range(times):
        net.forward()
        net.gradient({"fc": 1})
    change(net, view)
    del view
    with pytest.raises(StateError, match="input 'data' was changed since the last forward pass"):
        net.gradient({"fc": 1})


def test_a_forward_that_stopped_early_reaches_only_so_far() -> None:
    net = run(make(CHAIN))
    net.forward(end="pool1")
    net.gradient({"pool1": 1})
    with pytest.raises(StateError, match="layer 'fc' has not run in the last forward pass"):
        net.gradient({"fc": 1})
    net.forward(start="fc")
    net.gradient({"fc": 1})
    net.forward(end="conv1")
    with pytest.raises(StateError, match="layer 'relu1' has not run"):
        net.gradient({"conv1": 1})
    net.gradient({("conv1", "conv1"): 1})


def test_names_are_checked() -> None:
    net = run(make(CHAIN))
    with pytest.raises(UnknownBlobError, match="no blob 'fc8'; did you mean 'fc'"):
        net.gradient({"fc8": 1})
    with pytest.raises(UnknownLayerError, match="no layer 'relu'; did you mean 'relu1'"):
        net.gradient({"fc": 1}, ("conv1", "relu"))
    with pytest.raises(ArgumentError, match="layer 'fc' does not write blob 'conv1'"):
        net.gradient({"fc": 1}, ("conv1", "fc"))
    with pytest.raises(
        ArgumentError, match=r"out\['data'\] must be a float32 array of shape \(2, 3, 8, 8\) on cpu, got float64"
    ):
        net.gradient({"fc": 1}, "data", out={"data": np.zeros((2, 3, 8, 8))})


def test_losses_and_labels() -> None:
    text = (
        CHAIN
        + """
        layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }"""
    )
    net = make(text)
    net.forward(data=noise(2, 3, 8, 8), label=np.array([1, 3]))
    got = net.gradient({"loss": 1}, ["fc", "label"])
    scores = net.blobs["fc"].data.astype(np.float64)
    softmax = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(got["fc"], (softmax - np.eye(5)[[1, 3]]) / 2, rtol=1e-4, atol=1e-6)
    assert not got["label"].any()
