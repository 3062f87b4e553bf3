"""Weight gradients that wait: what a script reads is what Caffe has there, or an error."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy import kernels
from caffepy.errors import ArgumentError, StateError
from caffepy.rules.rectifiers import GUIDED
from tests.gpu_mode import REAL, running
from tests.nets import CHAIN, FORCED, FORK, make, noise

IN_PLACE = FORCED.replace(
    'layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }',
    'layer { name: "scale" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }'
    'layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }'
    'layer { name: "prelu" type: "PReLU" bottom: "conv1" top: "p" }'
    'layer { name: "scale2" type: "Scale" bottom: "p" top: "s" }',
).replace('bottom: "conv1" top: "pool1"', 'bottom: "s" top: "pool1"')
SHARED = "force_backward: true " + FORK.replace(
    'type: "InnerProduct" b', 'type: "InnerProduct" param { name: "w" } b'
).replace("dim: 2 dim: 3", "dim: 2 dim: 4")
LOSS = CHAIN.replace('top: "fc"', 'top: "fc" loss_weight: 1')
NETS = {
    "loss": LOSS,
    "forced": FORCED,
    "fork": "force_backward: true " + FORK,
    "in place": IN_PLACE,
    "shared": SHARED,
}


@pytest.fixture(params=["cpu", "gpu-ascending", REAL], autouse=True)
def mode(request: pytest.FixtureRequest) -> Iterator[Any]:
    with running(request.param) as chosen:
        yield chosen
    caffe.set_param_diffs("deferred")


def once(net: caffe.Net, seed: int = 0) -> None:
    """A forward and a backward pass of noise."""
    net.forward(**{name: noise(*net.blobs[name].shape, seed=seed + i) for i, name in enumerate(net.inputs)})
    net.backward(**{name: noise(*net.blobs[name].shape, seed=seed + 50 + i) for i, name in enumerate(net.outputs)})


def diffs(net: caffe.Net) -> list[np.ndarray]:
    """Copies of the weights' diffs."""
    return [blob.diff.copy() for blobs in net.params.values() for blob in blobs]


def always(text: str, use: Callable[[caffe.Net], object]) -> list[np.ndarray]:
    """The weights' diffs after `use`, computed in every pass."""
    caffe.set_param_diffs("always")
    net = make(text)
    use(net)
    caffe.set_param_diffs("deferred")
    return diffs(net)


def same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert any(array.any() for array in expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def weight_operations(action: Callable[[], object]) -> list[str]:
    """The names of the weight gradients that are computed meanwhile."""
    seen: list[str] = []

    def note(kernel: Any, args: Any, constants: Any) -> bool:
        seen.append(kernel.name)
        return True

    with kernels.observed(note):
        action()
    return [name for name in seen if "weights" in name]


@pytest.mark.filterwarnings("ignore::caffepy.NotComputedWarning")
@pytest.mark.parametrize("text", NETS.values(), ids=NETS)
def test_what_is_read_is_what_every_pass_would_have_computed(text: str) -> None:
    net = make(text)
    once(net)
    same(diffs(net), always(text, once))

    def twice(net: caffe.Net) -> None:
        once(net)
        once(net, seed=7)

    once(net, seed=7)
    same(diffs(net), always(text, twice))


def test_nothing_is_computed_that_nobody_reads_and_everything_after_that(mode: Any) -> None:
    net = make(FORCED)
    once(net)
    assert not weight_operations(lambda: once(net))
    net.clear_param_diffs()
    once(net)
    assert len(weight_operations(lambda: net.params["fc"][1].diff)) == 2
    assert not weight_operations(lambda: net.params["conv1"][0].diff)
    if mode is None:  # replays call no operations
        assert len(weight_operations(lambda: once(net))) == 2


def test_a_diff_read_before_backward_is_live() -> None:
    net = make(FORCED)
    view = net.params["conv1"][0].diff
    once(net)
    np.testing.assert_array_equal(net.params["conv1"][0].diff, view)
    assert view.any()


@pytest.mark.parametrize(
    "write",
    [
        lambda net, kept: net.blobs["data"].data.fill(3),
        lambda net, kept: kept.fill(3),
        lambda net, kept: net.blobs["fc"].diff.fill(3),
        lambda net, kept: net.blobs["conv1"].diff.fill(3),
        lambda net, kept: net.blobs["pool1"].data.fill(3),
        lambda net, kept: net.params["fc"][0].data.fill(3),
    ],
    ids=["data", "a view kept", "the top's diff", "a diff between", "data between", "weights"],
)
def test_what_a_script_writes_after_the_pass_changes_nothing(write: Callable[[caffe.Net, np.ndarray], object]) -> None:
    net = make(FORCED)
    kept = net.blobs["data"].data
    once(net)
    write(net, kept)
    same(diffs(net), always(FORCED, once))
    if write.__code__.co_consts[1] == "data":
        assert (net.blobs["data"].data == 3).all()


@pytest.mark.parametrize("keep", [False, True], ids=["asked for", "kept"])
def test_what_a_script_writes_on_the_gpu_changes_nothing_either(mode: Any, keep: bool) -> None:
    if mode is None:
        return
    net = make(FORCED)
    net.forward()
    kept = net.blobs["data"].gpu_data if keep else None
    value = mode.zeros(2 * 3 * 8 * 8, np.float32)
    mode.upload(noise(2, 3, 8, 8).reshape(-1), value)
    mode.copy(value, net.blobs["data"].gpu_data)
    net.forward()
    net.backward(fc=noise(2, 5, seed=50))
    mode.fill(kept if keep else net.blobs["data"].gpu_data, 3)
    same(diffs(net), always(FORCED, once))
    assert (net.blobs["data"].data == 3).all()


def test_parts_of_a_pass_add_up() -> None:
    def parts(net: caffe.Net) -> None:
        net.forward(data=noise(2, 3, 8, 8))
        net.backward(fc=noise(2, 5), end="fc")
        net.backward(start="pool1")

    net = make(FORCED)
    parts(net)
    same(diffs(net), always(FORCED, parts))


def test_rules_are_those_of_the_pass() -> None:
    def guided(net: caffe.Net) -> None:
        with net.rules(GUIDED):
            once(net)

    for _ in range(2):
        net = make(IN_PLACE)
        guided(net)
        same(diffs(net), always(IN_PLACE, guided))
    net = make(IN_PLACE)
    once(net)
    with net.rules(GUIDED):
        same(diffs(net), always(IN_PLACE, once))


@pytest.mark.parametrize(
    "later",
    [
        lambda net: net.forward(),
        lambda net: net.forward(start="fc"),
        lambda net: net.backward(),
        lambda net: net.backward(start="pool1"),
        lambda net: (net.blobs["data"].reshape(1, 3, 8, 8), net.reshape()),
        lambda net: net.blobs["data"].reshape(1, 3, 8, 8),
        lambda net: net.profile(1),
        lambda net: (once(net), caffe.set_param_diffs("always"), once(net)),
    ],
    ids=["forward", "its end", "backward", "its end", "reshape", "reshape alone", "profile", "passes"],
)
def test_what_is_lost_says_so_until_it_is_cleared(later: Callable[[caffe.Net], object]) -> None:
    net = make(FORCED)
    once(net)
    later(net)
    for name in ("conv1", "fc"):
        for read in (lambda blob: blob.diff, lambda blob: blob.diff):
            with pytest.raises(StateError, match=r'set_param_diffs\("always"\).*phase=TRAIN.*clear_param_diffs'):
                read(net.params[name][0])
    net.clear_param_diffs()
    net.blobs["data"].reshape(2, 3, 8, 8)
    once(net)
    same(diffs(net), always(FORCED, once))


def test_gradients_and_a_pass_further_on_take_nothing_away() -> None:
    net = make(FORCED + 'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }')
    once(net)
    expected = always(FORCED + 'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }', once)
    net.gradient({"prob": noise(2, 5)})
    net.forward(start="prob")
    same(diffs(net), expected)


@pytest.mark.parametrize("name", ["net.caffemodel", "net.h5"])
def test_saved_diffs_are_computed_first(name: str, tmp_path: Path) -> None:
    net = make(FORCED)
    once(net)
    net.save(tmp_path / name, diffs=True)
    assert not weight_operations(lambda: diffs(net))
    same(diffs(net), always(FORCED, once))
    once(net)
    net.save_hdf5(tmp_path / "again.h5", diffs=True)


def test_saving_diffs_that_are_lost_is_an_error(tmp_path: Path) -> None:
    net = make(FORCED)
    once(net)
    once(net)
    with pytest.raises(StateError, match="set_param_diffs"):
        net.save(tmp_path / "net.caffemodel", diffs=True)
    net.save(tmp_path / "net.caffemodel")


def test_clearing_forgets_what_waits() -> None:
    net = make(FORCED)
    once(net)
    net.clear_param_diffs()
    assert not weight_operations(lambda: diffs(net))
    assert not any(array.any() for array in diffs(net))


@pytest.mark.parametrize("end", [lambda net: net.close(), lambda net: None], ids=["closed", "dropped"])
def test_a_weight_that_outlives_its_net_says_what_it_lacks(end: Callable[[caffe.Net], object]) -> None:
    net, other = make(FORCED), make(FORCED)
    once(net)
    kept, fresh = net.params["conv1"][0], other.params["conv1"][0]
    end(net)
    end(other)
    del net, other
    gc.collect()
    assert not fresh.diff.any()
    with pytest.raises(StateError, match="the end of the net"):
        _ = kept.diff


def test_training_nets_and_callbacks_compute_them_in_every_pass(mode: Any) -> None:
    trained, watched = make(FORCED, caffe.TRAIN), make(FORCED)
    seen: list[float] = []
    watched.after_backward(lambda i: seen.append(float(np.abs(watched.params["fc"][0].diff).sum())))
    for net in (trained, watched):
        assert mode or len(weight_operations(lambda net=net: once(net))) == 2
    once(watched)
    assert seen[-1] > 0


def test_the_setting_is_checked() -> None:
    with pytest.raises(ArgumentError, match="'sometimes'; give one of 'deferred', 'always'"):
        caffe.set_param_diffs("sometimes")
