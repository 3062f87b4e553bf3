"""pycaffe's names, one by one: that they are there, what they take, what they give."""

import copy
import importlib
import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import caffepy as caffe
from caffepy.blob import Blob
from caffepy.errors import ArgumentError, LayerError, StateError
from tests.gpu_mode import REAL, running
from tests.nets import CHAIN, FORCED, FORK, make, noise

MODULE = """
AdaDeltaSolver AdaGradSolver AdamSolver Classifier Detector Layer NesterovSolver Net NetSpec RMSPropSolver SGDSolver
TEST TRAIN Timer __version__ classifier coord_map detector draw get_solver has_nccl
init_log io layer_type_list layers log net_spec params proto set_device set_mode_cpu set_mode_gpu set_multiprocess
set_random_seed set_solver_count set_solver_rank solver_count solver_rank to_proto
"""
NET = """
_backward _batch _blob_loss_weights _blob_names _blobs _bottom_ids _forward _inputs _layer_names _outputs
_set_input_arrays _top_ids after_backward after_forward backward before_backward before_forward blob_loss_weights
blobs bottom_names clear_param_diffs copy_from forward forward_all forward_backward_all inputs layer_dict layers
load_hdf5 outputs params reshape save save_hdf5 set_input_arrays share_with top_names
"""
BLOB = "channels count data diff height num reshape shape width"


@pytest.mark.parametrize("name", MODULE.split())
def test_the_module_has(name: str) -> None:
    if name in ("coord_map", "draw"):  # which pycaffe imports no sooner than asked
        importlib.import_module(f"caffepy.{name}")
    assert hasattr(caffe, name)


@pytest.mark.parametrize("name", NET.split())
def test_a_net_has(name: str) -> None:
    assert hasattr(make(CHAIN), name)


@pytest.mark.parametrize("name", BLOB.split())
def test_a_blob_has(name: str) -> None:
    assert hasattr(make(CHAIN).blobs["data"], name)


def test_mappings_keep_the_order_of_layers() -> None:
    net = make(CHAIN)
    assert list(net.blobs) == ["data", "conv1", "pool1", "fc"]
    assert list(net.params) == ["conv1", "fc"]
    assert list(net.top_names.items())[:2] == [("data", ["data"]), ("conv1", ["conv1"])]
    assert list(net.bottom_names.items())[:2] == [("data", []), ("conv1", ["data"])]
    for mapping in (net.blobs, net.params, net.top_names, net.bottom_names, net.layer_dict, net.blob_loss_weights):
        assert isinstance(mapping, OrderedDict)
    assert [layer.type for layer in net.layers] == ["Input", "Convolution", "ReLU", "Pooling", "InnerProduct"]
    assert [blob.data.shape for blob in net.layers[1].blobs] == [(4, 3, 3, 3), (4,)]


def test_mappings_can_be_copied() -> None:
    net = make(CHAIN)
    for mapping in (net.blobs, net.params, net.layer_dict):
        for again in (copy.copy(mapping), mapping.copy(), mapping | {}):  # type: ignore[attr-defined, operator]
            assert list(again.items()) == list(mapping.items())
            with pytest.raises(KeyError, match=r"this net has no (blob|layer|layer with weights) 'nothing'"):
                _ = again["nothing"]


def test_a_layers_blobs_are_a_list_that_blobs_can_be_added_to() -> None:
    blobs = make(CHAIN).params["conv1"]
    assert isinstance(blobs, list)
    blobs.add_blob(2, 3)
    assert [blob.shape for blob in blobs] == [(4, 3, 3, 3), (4,), (2, 3)]


def test_what_pycaffes_own_code_reads() -> None:
    net = make(FORK)
    assert net._blob_names == list(net.blobs)
    assert net._layer_names == list(net.layer_dict)
    assert [net._blob_names[i] for i in net._inputs] == net.inputs
    assert [net._blob_names[i] for i in net._outputs] == net.outputs
    for i, name in enumerate(net._layer_names):
        assert [net._blob_names[j] for j in net._top_ids(i)] == net.top_names[name]
        assert [net._blob_names[j] for j in net._bottom_ids(i)] == net.bottom_names[name]
    assert all(isinstance(blob, Blob) for blob in net._blobs)
    assert net._blob_loss_weights == [0.0] * len(net.blobs)
    net.blobs["x"].data[...] = noise(2, 3)
    assert net._forward(0, len(net.layers) - 1) == 0
    net._backward(len(net.layers) - 1, 0)


def test_forward_from_to_gives_the_loss() -> None:
    net = make(
        'layer { name: "x" type: "Input" top: "x" top: "t" input_param { shape { dim: 2 dim: 3 } } }'
        'layer { name: "loss" type: "EuclideanLoss" bottom: "x" bottom: "t" top: "loss" loss_weight: 3 }'
    )
    net.blobs["x"].data[...] = 1
    assert net._forward(0, 1) == pytest.approx(3 * 6 / 4)


@pytest.mark.parametrize("mode", ["cpu", "gpu-ascending", REAL])
def test_clear_param_diffs(mode: str) -> None:
    with running(mode):
        net = make(FORCED)
        net.forward(data=noise(2, 3, 8, 8))
        net.backward(fc=noise(2, 5))
        once = net.params["conv1"][0].diff.copy()
        net.backward(fc=noise(2, 5))
        np.testing.assert_allclose(net.params["conv1"][0].diff, 2 * once, rtol=1e-4, atol=1e-5)
        net.clear_param_diffs()
        assert not any(blob.diff.any() for blobs in net.params.values() for blob in blobs)


def test_callbacks() -> None:
    net = make(FORCED)
    seen: list[str] = []
    net.before_forward(lambda i: seen.append(f"before {net._layer_names[i]}"))
    net.after_forward(lambda i: seen.append(f"after {net._layer_names[i]}"))
    net.before_backward(lambda i: seen.append(f"before backward {net._layer_names[i]}"))
    net.after_backward(lambda i: seen.append(f"after backward {net._layer_names[i]}"))
    net.forward(end="conv1")
    assert seen == ["before data", "after data", "before conv1", "after conv1"]
    net.forward()
    seen.clear()
    net.backward(start="fc", end="fc")
    assert seen == ["before backward fc", "after backward fc"]


def test_memory_data() -> None:
    net = make(
        'layer { name: "m" type: "MemoryData" top: "data" top: "label" '
        "memory_data_param { batch_size: 2 channels: 1 height: 2 width: 2 } }"
        'layer { name: "twice" type: "Power" bottom: "data" top: "twice" power_param { scale: 2 } }'
    )
    images, labels = noise(4, 1, 2, 2), np.arange(4, dtype=np.float32)
    net.set_input_arrays(images, labels)
    for part in (slice(0, 2), slice(2, 4), slice(0, 2)):
        found = net.forward()
        np.testing.assert_allclose(found["twice"], 2 * images[part])
        np.testing.assert_array_equal(found["label"].reshape(-1), labels[part])
    with pytest.raises(LayerError, match="3 images are no whole number of batches"):
        net.set_input_arrays(images[:3], labels[:3])
    with pytest.raises(StateError, match="the first layer 'data' is Input; it must be MemoryData"):
        make(CHAIN).set_input_arrays(images, labels)


def test_hdf5_whatever_the_name(tmp_path: Path) -> None:
    net, other = make(CHAIN), make(CHAIN, seed=5)
    net.save_hdf5(tmp_path / "weights.caffemodel")
    assert h5py.is_hdf5(tmp_path / "weights.caffemodel")
    other.load_hdf5(tmp_path / "weights.caffemodel")
    np.testing.assert_array_equal(other.params["fc"][0].data, net.params["fc"][0].data)


def test_addresses_on_the_gpu() -> None:
    with running("gpu-ascending"):
        net = make(CHAIN)
        net.forward()
        blob = net.blobs["conv1"]
        assert blob._gpu_data_ptr == blob.gpu_data.data.ptr
        assert blob._gpu_diff_ptr == blob.gpu_diff.data.ptr != blob._gpu_data_ptr


def test_solver_counts() -> None:
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (1, 0, False)
    caffe.set_solver_count(4)
    caffe.set_solver_rank(3)
    caffe.set_multiprocess(True)
    assert (caffe.solver_count(), caffe.solver_rank()) == (4, 3)
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    for call, value in ((caffe.set_solver_count, 0), (caffe.set_solver_rank, -1)):
        with pytest.raises(ArgumentError, match="give at least"):
            call(value)


def test_logging(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("caffepy")
    monkeypatch.setattr(log, "level", log.level)
    monkeypatch.setattr(log, "handlers", list(log.handlers))
    from caffepy.pycaffe import process

    handler = logging.StreamHandler()
    handler.setFormatter(process._handler.formatter)
    monkeypatch.setattr(process, "_handler", handler)
    caffe.log("before")
    caffe.init_log()
    caffe.log("100 % there")
    caffe.init_log(2)
    caffe.log("not this")
    assert re.fullmatch(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ process\.py:\d+\] 100 % there\n", capsys.readouterr().err)
    with pytest.raises(ArgumentError, match="level 7; give 0"):
        caffe.init_log(7)


def test_the_stopwatch() -> None:
    timer = caffe.Timer()
    with pytest.raises(StateError, match="call start"):
        timer.stop()
    timer.start()
    timer.stop()
    first = timer.ms
    assert 0 <= first == timer.ms


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda net: net.forward(wrong=np.zeros(1)), "Input blob arguments do not match net inputs."),
        (lambda net: net.forward(data=np.zeros((3, 3, 8, 8))), "Input is not batch sized"),
        (lambda net: net.backward(wrong=np.zeros(1)), "Top diff arguments do not match net outputs."),
        (lambda net: net.backward(fc=np.zeros((3, 5))), "Diff is not batch sized"),
        (
            lambda net: net.set_input_arrays(np.zeros(1), np.zeros(1)),
            "set_input_arrays may only be called if the first layer is a MemoryDataLayer",
        ),
    ],
)
def test_pycaffes_sentences(call: Callable[[caffe.Net], object], sentence: str) -> None:
    net = make(FORCED)
    with pytest.raises(Exception, match=r"must be|reshape the net first") as caught:
        call(net)
    assert str(caught.value) == sentence


def test_mode_and_phase_could_be_set_through_a_net() -> None:
    net = make(CHAIN)
    net.set_phase_test()
    net.set_mode_cpu()
    with pytest.raises(StateError, match=r"caffe\.Net\(model, weights, caffe\.TRAIN\)"):
        net.set_phase_train()
    make(CHAIN, caffe.TRAIN).set_phase_train()
    with pytest.raises(AttributeError, match=r"'Net' object has no attribute 'set_raw_scale'; since 2014.*Transformer"):
        net.set_raw_scale("data", 255)
    assert not hasattr(net, "nothing")


@pytest.mark.parametrize("load", [lambda text: caffe.Net(text, caffe.TEST), caffe.get_solver])
@pytest.mark.parametrize("text", [CHAIN, 'net: "a"\nbase_lr: 1', "# why\n\nlayer { }" + " " * 5000])
def test_a_prototxts_text_is_no_path(load: Callable[[str], object], text: str) -> None:
    with pytest.raises(
        RuntimeError, match=r"is no path but, it seems, a prototxt's text: write it to a file"
    ) as caught:
        load(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("path", "advice"),
    [(r"models\net.prototxt", "parted by slashes"), ("models\net.prototxt", "write backslashes twice")],
)
def test_backslashes_in_paths(path: str, advice: str) -> None:
    with pytest.raises(RuntimeError, match=advice):
        caffe.Net(path, caffe.TEST)
