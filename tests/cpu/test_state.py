"""What a captured pass must see and leave: the host's writes, views that scripts keep, shapes, sharing, others."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import caffepy
from caffepy import device
from caffepy.device.threads import set_threads
from caffepy.errors import StateError
from caffepy.proto.caffe_pb2 import TRAIN
from tests.cpu.roads import assert_alike, build, needs_onednn, passes, road

pytestmark = needs_onednn

NET = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 32 kernel_size: 3 } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "lrn" type: "LRN" bottom: "pool" top: "lrn" lrn_param { local_size: 5 alpha: 0.1 } }
layer { name: "conv2" type: "Convolution" bottom: "lrn" top: "conv2"
        convolution_param { num_output: 16 kernel_size: 3 pad: 1 } }
layer { name: "fc" type: "InnerProduct" bottom: "conv2" top: "fc" inner_product_param { num_output: 6 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
SHAPE = 2, 8, 12, 12


@pytest.fixture
def net() -> caffepy.Net:
    return build(NET, SHAPE)


@pytest.fixture(autouse=True)
def _onednn() -> object:
    with road("onednn"):
        yield


def expected(change: object = None, shape: tuple[int, ...] = SHAPE) -> dict[str, np.ndarray]:
    """The same by NumPy; `change` is called with the net first."""
    with road("numpy"):
        other = build(NET, shape)
        if callable(change):
            change(other)
        return passes(other)


@pytest.mark.parametrize(
    ("layer", "index"), [("conv", 0), ("conv", 1), ("norm", 1), ("scale", 0), ("scale", 1), ("conv2", 0), ("fc", 0)]
)
def test_weights_written_between_passes_count(net: caffepy.Net, layer: str, index: int) -> None:
    def change(net: caffepy.Net) -> None:
        net.params[layer][index].data[...] *= 1.5

    passes(net)
    change(net)
    assert_alike(passes(net), expected(change))
    change(net)
    assert_alike(passes(net), expected(lambda other: (change(other), change(other))))


def test_settled_passes_fold_no_weights_anew(net: caffepy.Net, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        expected_passes = passes(net)
    folded: list[int] = []
    for captured in net.execution.replay.on_cpu.captured():
        counting = [replace(p, run=partial(_count, folded, p.run)) for p in captured._preparations]
        monkeypatch.setattr(captured, "_preparations", counting)
    assert_alike(passes(net), expected_passes, 0)
    assert not folded
    net.params["norm"][1].data[...] *= 2
    passes(net)
    assert len(folded) > 2  # of the forward pass, of the gradient and of the backward pass


def _count(folded: list[int], run: Callable[[], object]) -> None:
    folded.append(1)
    run()


def test_weights_written_through_a_view_kept_from_before_count(net: caffepy.Net) -> None:
    views = {name: [blob.data for blob in blobs] for name, blobs in net.params.items()}
    passes(net)
    for name in ("conv", "scale", "conv2", "fc"):
        views[name][0][...] *= -0.5

    def change(net: caffepy.Net) -> None:
        for name in ("conv", "scale", "conv2", "fc"):
            net.params[name][0].data[...] *= -0.5

    assert_alike(passes(net), expected(change))


def test_views_of_blobs_follow_the_passes(net: caffepy.Net) -> None:
    net.forward()
    views = {name: blob.data for name, blob in net.blobs.items()}
    for factor in (2.0, 3.0):
        net.blobs["data"].data[...] *= factor
        net.forward()
        with road("numpy"):
            other = build(NET, SHAPE)
            other.blobs["data"].data[...] = net.blobs["data"].data
            other.forward()
        assert_alike(views, {name: blob.data for name, blob in other.blobs.items()})


def test_a_blob_written_between_passes_is_what_the_next_layers_see(net: caffepy.Net) -> None:
    net.forward()
    kept = net.blobs["pool"].data

    def change(other: caffepy.Net) -> None:
        other.blobs["pool"].data[...] = np.arange(other.blobs["pool"].count).reshape(other.blobs["pool"].shape) / 500
        other.forward(start="lrn")

    for _ in range(2):
        net.forward()
        change(net)
        found = net.blobs["prob"].data.copy()
        with road("numpy"):
            other = build(NET, SHAPE)
            other.forward()
            change(other)
        assert_alike({"prob": found}, {"prob": other.blobs["prob"].data})
    kept[...] = 0.25
    net.forward(start="lrn")
    with road("numpy"):
        other.blobs["pool"].data[...] = 0.25
        other.forward(start="lrn")
    assert_alike({"prob": net.blobs["prob"].data}, {"prob": other.blobs["prob"].data})


def test_a_pass_that_ends_early_shows_what_that_layer_computes(net: caffepy.Net) -> None:
    passes(net)
    for end in ("conv", "norm", "scale", "relu"):
        net.forward(end=end)
        found = net.blobs["conv"].data.copy()
        with road("numpy"):
            other = build(NET, SHAPE)
            other.forward(end=end)
        assert_alike({end: found}, {end: other.blobs["conv"].data})
    assert_alike(passes(net), expected())


def test_reshaped_and_back(net: caffepy.Net) -> None:
    passes(net)
    for shape in ((1, 8, 12, 12), SHAPE):
        noise = np.random.default_rng(3).standard_normal(shape)
        net.blobs["data"].reshape(*shape)
        net.blobs["data"].data[...] = noise

        def change(other: caffepy.Net, shape: tuple[int, ...] = shape, noise: np.ndarray = noise) -> None:
            other.blobs["data"].reshape(*shape)
            other.blobs["data"].data[...] = noise

        assert_alike(passes(net), expected(change))


def test_what_a_scale_keeps_is_there_for_its_diff_although_it_was_folded(net: caffepy.Net) -> None:
    reference = expected()
    for _ in range(3):
        found = passes(net)
        for name in ("scale weight 0 diff", "scale weight 1 diff", "conv weight 0 diff"):
            assert_alike({name: found[name]}, {name: reference[name]})


def test_engines_changed_between_forward_and_gradient() -> None:
    reference = expected()["gradient"]
    noise = {"prob": np.random.default_rng(4).standard_normal((2, 6)).astype(np.float32)}
    for first, second in (("onednn", "numpy"), ("numpy", "onednn"), ("onednn", "onednn")):
        net = build(NET, SHAPE)
        for _ in range(2):
            with road(first):
                net.forward()
            with road(second):
                assert_alike({"gradient": net.gradient(noise, "data")["data"]}, {"gradient": reference})


def test_places_of_maxima_as_a_second_top() -> None:
    body = """
    layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 16 kernel_size: 1 } }
    layer { name: "p" type: "Pooling" bottom: "c" top: "p" top: "places" pooling_param { kernel_size: 3 stride: 2 } }
    """
    net = build(body, SHAPE)
    net.forward()
    with road("numpy"):
        other = build(body, SHAPE)
        other.forward()
    np.testing.assert_array_equal(net.blobs["places"].data, other.blobs["places"].data)


def test_views_of_the_same_memory_in_other_shapes() -> None:
    body = """
    layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 16 kernel_size: 3 } }
    layer { name: "flat" type: "Flatten" bottom: "c" top: "flat" }
    layer { name: "back" type: "Reshape" bottom: "flat" top: "back"
            reshape_param { shape { dim: 0 dim: 32 dim: 5 dim: 10 } } }
    layer { name: "r" type: "ReLU" bottom: "back" top: "back" }
    layer { name: "d" type: "Convolution" bottom: "back" top: "d" convolution_param { num_output: 8 kernel_size: 2 } }
    """
    with road("numpy"):
        reference = passes(build(body, SHAPE))
    net = build(body, SHAPE)
    for _ in range(2):
        assert_alike(passes(net), reference)


def test_weights_shared_between_nets_and_trained_in_one() -> None:
    body = NET.replace(
        'type: "BatchNorm"', 'type: "BatchNorm" param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 }'
    )

    def run() -> list[np.ndarray]:
        train, test = build(body, SHAPE, TRAIN), build(body, SHAPE)
        test.share_with(train)
        found = []
        for _ in range(3):
            train.forward()  # gathers statistics
            test.forward()
            found.append(test.blobs["prob"].data.copy())
            train.params["conv"][0].data[...] *= 0.9
        return found

    found = run()
    with road("numpy"):
        reference = run()
    assert not np.allclose(reference[0], reference[1], atol=1e-4)
    for mine, other in zip(found, reference, strict=True):
        assert_alike({"prob": mine}, {"prob": other})


def test_runs_are_bit_identical_with_one_and_with_two_threads(net: caffepy.Net) -> None:
    results = []
    passes(net)  # once asked for, what scales keep is computed, and no longer folded
    try:
        for number in (1, 2, 1, 2):
            set_threads(number)
            results.append(passes(net))
    finally:
        set_threads(None)
    for number, other in enumerate(results):
        for name, values in results[number % 2].items():
            np.testing.assert_array_equal(other[name], values, name)
            if "weight" not in name:  # whose sums over positions are cut by threads
                np.testing.assert_array_equal(results[0][name], values, name)


def test_a_net_built_in_one_thread_runs_in_another(net: caffepy.Net) -> None:
    found: list[dict[str, np.ndarray]] = []
    passes(net)
    others = [net, *(build(NET, SHAPE) for _ in range(3))]
    threads = [threading.Thread(target=lambda n=n: found.extend(passes(n) for _ in range(3))) for n in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reference = expected()
    assert len(found) == 12
    for result in found:
        assert_alike(result, reference)


def test_a_gradient_whose_places_are_gone_asks_for_a_forward_pass(net: caffepy.Net) -> None:
    net.forward()
    net.gradient({"prob": 1.0}, "data")
    net.blobs["pool"].reshape(1, 32, 5, 5)
    net.blobs["data"].reshape(1, 8, 12, 12)
    with pytest.raises(StateError):
        net.gradient({"prob": np.ones((2, 6))}, "data")
    net.forward()
    net.gradient({"prob": 1.0}, "data")


FORK = """
import os, sys
import numpy as np
from tests.cpu.roads import build
from tests.cpu.test_state import NET
from caffepy.device import engine
from caffepy.device.threads import set_threads
engine.set_cpu_engine("onednn")
set_threads(2)
net = build(NET, (16, 8, 50, 50))
net.forward()
before = net.blobs["fc"].data.copy(), net.blobs["lrn"].data.copy()  # the latter unpacked, outside of a pass
child = os.fork()
if not child:
    net.forward()
    after = net.blobs["fc"].data, net.blobs["lrn"].data
    error = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(after, before)]
    os._exit(0 if max(error) < 9216 * 2**-24 else 3)  # sums of 9216 in another order
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_runs() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    several = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, timeout=60, check=False, capture_output=True, env=several)
    assert done.returncode == 0, done.stderr.decode()


def test_the_other_device_takes_over_what_is_packed(net: caffepy.Net) -> None:
    """Values in a packed layout are what the host's array shows, whoever asks."""
    net.forward()
    storage = net.blobs["lrn"].data_storage
    assert not storage.fresh
    with device.pinned(device.named("cpu")):
        assert storage.read_host(net.blobs["lrn"].count).any()
    assert storage.fresh


def test_scratch_memory_that_grows_while_a_pass_is_captured() -> None:
    """What NumPy's bodies write to must be the memory that is there in the end."""
    body = """
    layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 24 kernel_size: 3 } }
    layer { name: "n" type: "LRN" bottom: "c" top: "n" lrn_param { local_size: 3 alpha: 0.1 } }
    layer { name: "up" type: "Deconvolution" bottom: "n" top: "up"
            convolution_param { num_output: 3 kernel_size: 8 stride: 8 } }
    layer { name: "n2" type: "LRN" bottom: "up" top: "n2" lrn_param { local_size: 3 alpha: 0.1 } }
    """
    with road("numpy"):
        reference = passes(build(body, SHAPE))
    assert_alike(passes(build(body, SHAPE)), reference)


def test_scratch_memory_can_be_exchanged_for_fresh() -> None:
    """Nothing in it is needed between passes, and what is new has not been written to."""
    net = build(NET, SHAPE, memory="inference")
    net.forward()
    before, arena = net.blobs["prob"].data.copy(), net.execution.replay.on_cpu.arena
    old = arena._buffer
    arena.renew()
    assert arena.size == old.size > 0
    assert not np.shares_memory(arena._buffer, old)
    assert not arena._buffer.any()
    old.fill(255)  # NaNs, which nobody may meet
    net.forward()
    np.testing.assert_array_equal(net.blobs["prob"].data, before)
    assert arena._buffer.any()
