"""pycaffe's calling habits."""

import os
import warnings

import numpy as np
import pytest

import caffepy as caffe
from caffepy.device.cuda import why_not
from caffepy.errors import (
    ArgumentError,
    CaffeError,
    GraphError,
    LayerError,
    StateError,
    UnknownBlobError,
    UnknownLayerError,
)
from tests.nets import CHAIN, FORCED, FORK, make, noise


def test_names_in_order() -> None:
    net = make(FORK)
    assert net.inputs == ["x", "unused"]
    assert net.outputs == ["side", "sum", "unused"]
    split = "a_a_0_split"
    assert list(net.blobs) == ["x", "unused", "a", f"{split}_0", f"{split}_1", f"{split}_2", "b", "sum", "side"]
    assert [x.type for x in net.layers] == ["Input", "InnerProduct", "Split", "InnerProduct", "Eltwise", "TanH"]
    assert list(net.layer_dict) == ["x", "a", split, "b", "sum", "side"]
    assert list(net.params) == ["a", "b"]
    assert net.top_names["x"] == ["x", "unused"]
    assert net.bottom_names["sum"] == [f"{split}_1", "b"]
    assert net.blob_loss_weights == dict.fromkeys(net.blobs, 0.0)
    assert net.params["a"][0].data.shape == (4, 3)


def test_both_constructors_and_their_errors(tmp_path) -> None:
    model, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    model.write_text(CHAIN)
    saved = make(CHAIN)
    saved.save(str(weights))
    nets = [
        caffe.Net(str(model), str(weights), caffe.TEST),
        caffe.Net(str(model), caffe.TEST, weights=str(weights)),
        caffe.Net(str(model), caffe.TEST, 0, [], str(weights)),
        caffe.Net(model, phase=caffe.TEST, weights=weights),
        caffe.Net(str(weights), caffe.TEST),
    ]
    for net in nets:
        np.testing.assert_array_equal(net.params["conv1"][0].data, saved.params["conv1"][0].data)
    for wrong in [(), (3,), (caffe.TEST, 0, [], None, 5), (str(weights),)]:
        with pytest.raises(ArgumentError, match="Net"):
            caffe.Net(str(model), *wrong)
    with pytest.raises(RuntimeError, match=r"nothere\.prototxt"):
        caffe.Net(str(tmp_path / "nothere.prototxt"), caffe.TEST)
    with pytest.raises(RuntimeError, match=r"nothere\.caffemodel"):
        caffe.Net(str(model), str(tmp_path / "nothere.caffemodel"), caffe.TEST)


def test_level_and_stages_choose_layers() -> None:
    text = CHAIN + (
        'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" include { stage: "deploy" min_level: 1 } }'
    )
    assert make(text).outputs == ["fc"]
    assert make(text, stages=["deploy"]).outputs == ["fc"]
    assert make(text, stages=["deploy"], level=1).outputs == ["prob"]


def test_the_saliency_script(tmp_path) -> None:
    (tmp_path / "deploy.prototxt").write_text(FORCED.replace("dim: 2 dim: 3 dim: 8", "dim: 1 dim: 3 dim: 8"))
    make(FORCED).save(tmp_path / "net.caffemodel")
    net = caffe.Net(str(tmp_path / "deploy.prototxt"), str(tmp_path / "net.caffemodel"), caffe.TEST)
    image = noise(1, 3, 8, 8)
    net.forward(data=image)
    diff = np.zeros((1, 5, 1, 1))
    diff[0, 3, 0, 0] = 1
    back = net.backward(**{net.outputs[0]: diff})
    saliency = np.abs(back["data"][0]).max(axis=0)
    assert saliency.shape == (8, 8)

    def score(x: np.ndarray) -> float:
        return float(net.forward(data=x)["fc"][0, 3])

    direction = noise(1, 3, 8, 8, seed=5)
    slope = (score(image + 1e-3 * direction) - score(image - 1e-3 * direction)) / 2e-3
    net.forward(data=image)
    back = net.backward(fc=diff)
    assert np.vdot(back["data"], direction) == pytest.approx(slope, rel=1e-2)


def test_forward_returns_live_views() -> None:
    net = make(CHAIN)
    first = net.forward(data=noise(2, 3, 8, 8))["fc"]
    kept = first.copy()
    second = net.forward(data=noise(2, 3, 8, 8, seed=1), blobs=["pool1"])
    assert list(second) == ["fc", "pool1"]
    assert second["fc"] is not first
    assert np.shares_memory(second["fc"], first)
    assert (first != kept).any()
    assert np.shares_memory(second["pool1"], net.blobs["pool1"].data)


def test_start_and_end_are_inclusive_layer_names() -> None:
    net = make(CHAIN)
    out = net.forward(end="pool1", data=noise(2, 3, 8, 8))
    assert list(out) == ["pool1"]
    assert not net.blobs["fc"].data.any()
    out = net.forward(start="fc")
    assert list(out) == ["fc"]
    assert net.blobs["fc"].data.any()


def test_backward_starts_in_mid_net_from_a_written_diff() -> None:
    net = make(FORCED)
    net.forward(data=noise(2, 3, 8, 8))
    net.blobs["pool1"].diff[...] = 1
    net.blobs["fc"].diff[...] = np.nan
    back = net.backward(start="pool1", diffs=["conv1"])
    assert list(back) == ["data", "conv1"]
    assert np.isfinite(back["data"]).all()
    np.testing.assert_allclose(back["data"], net.gradient({"pool1": 1})["data"], rtol=1e-6)
    back = net.backward(end="relu1", start="pool1")
    assert list(back) == ["conv1"]


def test_weight_diffs_accumulate() -> None:
    net = make(FORCED)
    net.forward(data=noise(2, 3, 8, 8))
    net.backward(fc=np.ones((2, 5)))
    once = net.params["conv1"][0].diff.copy()
    net.backward(fc=np.ones((2, 5)))
    np.testing.assert_allclose(net.params["conv1"][0].diff, 2 * once, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda n: n.forward(dta=noise(2, 3, 8, 8)),
            ArgumentError,
            r"exactly the net's inputs \['data'\], got \['dta'\]",
        ),
        (
            lambda n: n.forward(data=noise(1, 3, 8, 8)),
            ArgumentError,
            r"batch size 1 .* the net 2 .*reshape\(1, 3, 8, 8\)",
        ),
        (
            lambda n: n.forward(data=noise(2, 3, 8, 9)),
            ArgumentError,
            r"input 'data': shape \(2, 3, 8, 9\) does not fit",
        ),
        (lambda n: n.forward(data="cat"), ArgumentError, "must be an array of real numbers"),
        (lambda n: n.forward(start=1), ArgumentError, "give a layer's name, got 1; number 1 is 'conv1'"),
        (lambda n: n.backward(end=9), ArgumentError, "give a layer's name, got 9$"),
        (lambda n: n.forward(blobs="conv1"), ArgumentError, r"give a list of blobs' names, such as \['conv1'\]"),
        (lambda n: n.forward(blobs=[0]), ArgumentError, "give a blob's name, got 0; number 0 is 'data'"),
        (lambda n: n.gradient({0: 1}), ArgumentError, "give a blob's name, got 0; number 0 is 'data'"),
        (lambda n: n.blobs["CONV1"], UnknownBlobError, "no blob 'CONV1'; did you mean 'conv1'"),
        (lambda n: n.blobs[0], UnknownBlobError, "no blob 0"),
        (lambda n: n.forward(start="conv"), UnknownLayerError, "no layer 'conv'; did you mean 'conv1'"),
        (lambda n: n.forward(start="conv"), ValueError, "conv"),
        (lambda n: n.forward(blobs=["pool"]), UnknownBlobError, "no blob 'pool'; did you mean 'pool1'"),
        (lambda n: n.backward(pool1=0), ArgumentError, r"exactly the net's outputs \['fc'\], got \['pool1'\]"),
        (lambda n: n.backward(fc=noise(3, 5)), ArgumentError, r"diff of 'fc' has batch size 3"),
        (lambda n: n.backward(fc=noise(2, 4)), ArgumentError, r"shape \(2, 4\) does not fit \(2, 5\)"),
        (lambda n: n.backward(diffs=["nix"]), KeyError, "no blob 'nix'"),
        (lambda n: n.blobs["nix"], KeyError, "no blob 'nix'"),
        (lambda n: n.params["relu1"], KeyError, "no layer with weights 'relu1'"),
        (lambda n: n.blobs["data"].reshape(1, -3), ArgumentError, "whole number"),
    ],
)
def test_wrong_calls_say_so_and_leave_the_net_usable(call, error, message) -> None:
    net = make(FORCED)
    x = noise(2, 3, 8, 8)
    expected = net.forward(data=x)["fc"].copy()
    with pytest.raises(error, match=message):
        call(net)
    with pytest.raises(Exception, match=message):
        call(net)
    np.testing.assert_array_equal(net.forward(data=x)["fc"], expected)


def test_a_wrong_argument_among_right_ones_changes_nothing() -> None:
    net = make(FORK)
    net.forward(x=np.ones((2, 3)), unused=np.ones((2, 3)))
    with pytest.raises(ArgumentError):
        net.forward(x=np.zeros((2, 3)), unused=np.ones((2, 4)))
    assert net.blobs["x"].data.all()


def test_an_input_diff_that_was_not_computed_is_told_once() -> None:
    net = make(CHAIN)
    net.forward(data=noise(2, 3, 8, 8))
    net.blobs["data"].diff[...] = 3
    with pytest.warns(caffe.NotComputedWarning, match=r"diff of 'data'.*force_backward: true.*gradient"):
        back = net.backward(fc=np.ones((2, 5)))
    assert (back["data"] == 3).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.backward(fc=np.ones((2, 5)))


def test_reshape_by_the_input_blob() -> None:
    net = make(CHAIN)
    x = noise(3, 3, 8, 8)
    net.blobs["data"].reshape(3, 3, 8, 8)
    assert net.blobs["fc"].shape == (2, 5)
    net.reshape()
    assert net.blobs["fc"].shape == (3, 5)
    many = net.forward(data=x)["fc"].copy()
    net.blobs["data"].reshape(1, 3, 8, 8)
    np.testing.assert_allclose(net.forward(data=x[:1])["fc"], many[:1], rtol=1e-5)


def test_a_reshape_that_does_not_fit_names_the_layer_and_can_be_undone() -> None:
    net = make(CHAIN)
    x = noise(2, 3, 8, 8)
    expected = net.forward(data=x)["fc"].copy()
    net.blobs["data"].reshape(2, 3, 12, 12)
    with pytest.raises(LayerError, match="layer 'fc'"):
        net.reshape()
    net.blobs["data"].reshape(2, 3, 8, 8)
    np.testing.assert_array_equal(net.forward(data=x)["fc"], expected)


def test_loss_weights_scale_and_a_written_one_stays() -> None:
    text = FORK + 'layer { name: "loss" type: "Power" bottom: "sum" top: "loss" loss_weight: 2 }'
    net = make(text)
    assert net.blob_loss_weights["loss"] == 2
    net.forward(x=noise(2, 3), unused=0)
    assert (net.blobs["loss"].diff == 2).all()
    net.blobs["loss"].diff[...] = 5
    net.forward()
    assert (net.blobs["loss"].diff == 5).all()
    net.blobs["x"].reshape(1, 3)
    net.blobs["unused"].reshape(1, 3)
    net.forward()
    assert (net.blobs["loss"].diff == 2).all()


def test_wrong_nets() -> None:
    with pytest.raises(GraphError, match="layer 'x': unknown layer type 'Convolutoin'; did you mean 'Convolution'"):
        make('layer { name: "x" type: "Convolutoin" }')
    with pytest.raises(
        LayerError, match=r"layer 'pool' \(Pooling\): cannot run in place: give its top 'x' another name"
    ):
        make(
            'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 1 dim: 4 dim: 4 } } }'
            'layer { name: "pool" type: "Pooling" bottom: "x" top: "x" pooling_param { kernel_size: 2 } }'
        )
    with pytest.raises(LayerError, match=r"layer 'r' \(ReLU\): takes 1 bottom blob\(s\), the prototxt gives 0"):
        make('layer { name: "r" type: "ReLU" top: "x" }')
    with pytest.raises(LayerError, match=r"2 loss_weight for 1 top"):
        make(FORK.replace('top: "side"', 'top: "side" loss_weight: 1 loss_weight: 2'))


def test_backward_refuses_what_was_overwritten_in_place() -> None:
    text = (
        FORCED
        + """
        layer { name: "sig" type: "Sigmoid" bottom: "fc" top: "sig" }
        layer { name: "double" type: "ReLU" bottom: "sig" top: "sig" relu_param { negative_slope: 2 } }"""
    )
    net = make(text)
    net.forward(data=noise(2, 3, 8, 8))
    with pytest.raises(
        GraphError, match=r"layer 'sig' \(Sigmoid\): backward needs data that layer 'double' \(ReLU\) wrote"
    ):
        net.backward()
    net.backward(start="fc")


def test_shared_weights_have_one_memory_and_add_their_diffs() -> None:
    shared = FORK.replace('type: "InnerProduct" bottom: "x"', 'type: "InnerProduct" param { name: "w" } bottom: "x"')
    shared = shared.replace('type: "InnerProduct" bottom: "a"', 'type: "InnerProduct" param { name: "w" } bottom: "a"')
    with pytest.raises(LayerError, match=r"param 'w' has shape \(4, 4\) here and \(4, 3\) in layer 'a'"):
        make(shared)
    net = make("force_backward: true" + shared.replace("dim: 2 dim: 3", "dim: 2 dim: 4"))
    assert np.shares_memory(net.params["a"][0].data, net.params["b"][0].data)
    assert np.shares_memory(net.params["a"][0].diff, net.params["b"][0].diff)


def test_closing() -> None:
    with make(CHAIN) as net:
        out = net.forward(data=noise(2, 3, 8, 8))["fc"]
    assert out.any()
    with pytest.raises(StateError, match="this net is closed"):
        net.forward()
    net.close()


def test_modes() -> None:
    caffe.set_mode_cpu()
    caffe.set_device(0)
    assert (caffe.TRAIN, caffe.TEST) == (0, 1)
    assert "Convolution" in caffe.layer_type_list()


@pytest.mark.skipif(why_not(0) is None, reason="this machine has a usable GPU")
def test_gpu_mode_without_a_gpu_says_why_and_changes_nothing() -> None:
    with pytest.raises(RuntimeError, match=r"GPU mode: GPU 0 cannot be used: (CuPy cannot be imported|CUDA answers)"):
        caffe.set_mode_gpu()
    assert make(CHAIN).forward(data=noise(2, 3, 8, 8))["fc"].any()


def test_force_backward_gives_zeros_where_there_is_no_derivative() -> None:
    net = make(
        'force_backward: true layer { name: "x" type: "Input" top: "x" top: "label" input_param { '
        "shape { dim: 4 dim: 3 } shape { dim: 4 } } }"
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "loss" }'
    )
    net.forward(x=noise(4, 3), label=np.arange(4) % 3)
    net.blobs["label"].diff[...] = 7
    with warnings.catch_warnings(action="error"):
        diffs = net.backward()
    np.testing.assert_array_equal(diffs["label"], np.zeros(4))
    assert diffs["x"].any()


def test_bytes_are_paths(tmp_path) -> None:
    (tmp_path / "net.prototxt").write_text(CHAIN)
    prototxt, weights = os.fsencode(tmp_path / "net.prototxt"), os.fsencode(tmp_path / "net.caffemodel")
    net = caffe.Net(prototxt, caffe.TEST)
    net.save(weights)
    again = caffe.Net(prototxt, weights, caffe.TEST)
    assert np.array_equal(again.params["fc"][0].data, net.params["fc"][0].data)
    assert again.copy_from(weights).loaded == ["conv1", "fc"]
    named = caffe.Net(prototxt, weights, phase=caffe.TEST)
    assert np.array_equal(named.params["fc"][0].data, net.params["fc"][0].data)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: caffe.Net(path), r"the phase is missing: caffe.Net\(model, weights, caffe.TEST\)"),
        (lambda path: caffe.Net(path, "net.caffemodel"), r"the phase is missing"),
        (lambda path: caffe.Net(path, "net.caffemodel", "test"), r"phase must be .*, got 'test'"),
        (lambda path: caffe.Net(None, caffe.TEST), "the model: expected a path, got None"),
        (lambda path: caffe.Net(3, caffe.TEST), "the model: expected a path, got 3"),
        (lambda path: caffe.Net(path, caffe.TEST, weights=4), "weights: expected a path, got 4"),
        (lambda path: caffe.Net(path, caffe.TEST, stages="deploy"), r"stages must be a list.*\['deploy'\], got 'dep"),
        (lambda path: caffe.Net(path, caffe.TEST, stages=[1]), r"stages must be a list of names"),
        (lambda path: caffe.Net(path, caffe.TEST, level="1"), "level must be a whole number, got '1'"),
    ],
)
def test_wrong_arguments_say_what_to_give(tmp_path, call, message) -> None:
    (tmp_path / "net.prototxt").write_text(CHAIN)
    with pytest.raises(ArgumentError, match=message):
        call(str(tmp_path / "net.prototxt"))


@pytest.mark.parametrize(("type_name", "near"), [("relu", "'ReLU'"), ("lrn", "'LRN'"), ("RELU", "'ReLU'")])
def test_suggestions_mind_no_case(type_name: str, near: str) -> None:
    with pytest.raises(GraphError, match=f"unknown layer type '{type_name}'; did you mean {near}\\?"):
        make(CHAIN.replace('"ReLU"', f'"{type_name}"'))
    with pytest.raises(GraphError, match=r"no earlier layer has such a top; did you mean 'pool1'\?"):
        make(CHAIN.replace('bottom: "pool1"', 'bottom: "POOL1"'))


@pytest.mark.parametrize("dims", ["1000000000000", "1000000 dim: 1000000 dim: 1000000 dim: 1000000"])
def test_what_no_machine_can_hold_is_told_with_the_layer(dims: str) -> None:
    text = 'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: {} }} }} }}'
    with pytest.raises(LayerError, match=r"layer 'in' \(Input\): top 'x' of shape .* needs 4.0( TB|e24 bytes) of"):
        make(text.format(dims))
    net = make(text.format(2))
    net.blobs["x"].reshape(10**12)
    with pytest.raises(LayerError, match=r"layer 'in' \(Input\): top 'x' of shape \(1000000000000,\) needs"):
        net.forward()
    net.blobs["x"].reshape(2)
    net.forward()
    with pytest.raises(LayerError, match=r"layer 'conv1' \(Convolution\): weight blob 0 of shape .* needs"):
        make(CHAIN.replace("num_output: 4", "num_output: 2000000000"))


def test_reshape_takes_arrays() -> None:
    blob = make(CHAIN).blobs["data"]
    blob.reshape(np.array([1, 2, 3, 4]))
    assert blob.shape == (1, 2, 3, 4)
    blob.reshape(*np.array([4, 3], np.int64))
    assert blob.shape == (4, 3)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("1KB", r"layer 'data' \(Input\): top 'data' of shape .* needs 0.002 MB of memory, and there are 0.001 MB"),
        (
            "1600",
            r"layer 'conv1' \(Convolution\): .* (pass|memory|net) needs",
        ),
        ("99 KB", r"layer '\w+' .*with the other layers the net needs .* MB of memory, and there are 0.099 MB"),
        ("many", "CAFFEPY_MEMORY_LIMIT is 'many'; give bytes, or 500MB, or 8GB"),
    ],
)
def test_memory_can_be_limited(limit: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAFFEPY_MEMORY_LIMIT", limit)
    with pytest.raises(CaffeError, match=message):
        make(CHAIN)


def test_a_net_may_have_a_limit_of_its_own(tmp_path) -> None:
    (tmp_path / "net.prototxt").write_text(CHAIN)
    path = str(tmp_path / "net.prototxt")
    total = caffe.Net(path, caffe.TEST).execution.budget.total
    caffe.Net(path, caffe.TEST, memory_limit=total)
    with pytest.raises(LayerError, match=r"layer 'fc' \(InnerProduct\): takes .*with the other layers the net needs"):
        caffe.Net(path, caffe.TEST, memory_limit=total - 1)


def test_a_net_within_the_limit_grows_until_it_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(CHAIN)
    total = net.execution.budget.total
    assert total > 4 * (384 + 4 * 36 * 2 + 2 * 36 + 10)
    monkeypatch.setenv("CAFFEPY_MEMORY_LIMIT", str(2 * total))
    net.forward()
    net.blobs["data"].reshape(200, 3, 8, 8)
    with pytest.raises(LayerError, match="of memory, and there are"):
        net.forward()
    net.blobs["data"].reshape(2, 3, 8, 8)
    net.forward()
