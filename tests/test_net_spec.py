"""caffe.NetSpec: LeNet as pycaffe's documentation prints it, names, settings, and what each mistake is told."""

# ruff: noqa: C408 (dict(dim=3), as pycaffe's scripts write it)

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy import layers as L
from caffepy.errors import ArgumentError, UnknownFieldError
from caffepy.net_spec import Function, NetSpec, Top, assign_proto, param_name_dict, to_proto
from caffepy.net_spec import params as P
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter


def lenet(data: Any, label: Any) -> NetSpec:
    """As in the notebook "Learning LeNet" of Caffe's examples."""
    n = NetSpec()
    n.data, n.label = data, label
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, weight_filler=dict(type="xavier"))
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 = L.InnerProduct(n.pool2, num_output=500, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n


LENET = """
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { scale: 0.00392156862745 }
        data_param { source: "mnist/mnist_train_lmdb" batch_size: 64 backend: LMDB } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
        convolution_param { num_output: 50 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc1" type: "InnerProduct" bottom: "pool2" top: "fc1"
        inner_product_param { num_output: 500 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "fc1" top: "fc1" }
layer { name: "score" type: "InnerProduct" bottom: "fc1" top: "score"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""


def parsed(text: str) -> NetParameter:
    return prototxt.parse(text, NetParameter)


def test_lenet_is_what_the_documentation_prints() -> None:
    data = L.Data(
        batch_size=64,
        backend=P.Data.LMDB,
        source="mnist/mnist_train_lmdb",
        transform_param=dict(scale=1.0 / 255),
        ntop=2,
    )
    assert str(lenet(*data).to_proto()) == str(parsed(LENET))


def test_lenet_runs_from_its_printed_text(tmp_path: Path) -> None:
    data = L.DummyData(
        shape=[dict(dim=[4, 1, 28, 28]), dict(dim=[4])],
        data_filler=[dict(type="gaussian"), dict(type="constant", value=3)],
        ntop=2,
    )
    (tmp_path / "lenet.prototxt").write_text(str(lenet(*data).to_proto()))
    net = caffe.Net(str(tmp_path / "lenet.prototxt"), caffe.TRAIN)
    assert [name for name in net.layer_names if "split" not in name][-3:] == ["relu1", "score", "loss"]
    assert 0 < float(net.forward()["loss"]) < 20
    net.backward()
    assert np.abs(net.params["conv1"][0].diff).max() > 0


def test_automatic_names_count_types() -> None:
    data, label = L.DummyData(shape=dict(dim=[2, 3]), ntop=2)
    below = L.ReLU(L.InnerProduct(data, num_output=4), in_place=True)
    loss = L.SoftmaxWithLoss(L.InnerProduct(below, num_output=5), label)
    assert loss.to_proto() == parsed(
        """
        layer { name: "DummyData1" type: "DummyData" top: "DummyData1" top: "DummyData2"
                dummy_data_param { shape { dim: 2 dim: 3 } } }
        layer { name: "InnerProduct1" type: "InnerProduct" bottom: "DummyData1" top: "InnerProduct1"
                inner_product_param { num_output: 4 } }
        layer { name: "ReLU1" type: "ReLU" bottom: "InnerProduct1" top: "InnerProduct1" }
        layer { name: "InnerProduct2" type: "InnerProduct" bottom: "InnerProduct1" top: "InnerProduct2"
                inner_product_param { num_output: 5 } }
        layer { name: "SoftmaxWithLoss1" type: "SoftmaxWithLoss" bottom: "InnerProduct2" bottom: "DummyData2"
                top: "SoftmaxWithLoss1" }
        """
    )


def test_layers_come_after_what_they_read_and_once() -> None:
    data = L.Input(shape=dict(dim=[1, 2]))
    left, right = L.TanH(L.AbsVal(data)), L.Sigmoid(data)
    both = to_proto(L.Eltwise(left, right), right)
    assert [layer.name for layer in both.layer] == ["Input1", "AbsVal1", "TanH1", "Sigmoid1", "Eltwise1"]


def test_automatic_names_keep_clear_of_given_ones() -> None:
    n = NetSpec()
    n.ReLU1 = L.ReLU(L.ReLU(L.Input()))
    assert [list(layer.top) for layer in n.to_proto().layer] == [["Input1"], ["ReLU2"], ["ReLU1"]]


def test_layers_without_tops() -> None:
    n = NetSpec()
    n.data, n.data2 = L.DummyData(shape=dict(dim=3), ntop=2)
    n.silence = L.Silence(n.data, ntop=0)
    unnamed = L.Silence(n.data2, ntop=0)
    assert isinstance(n.silence, Function)
    assert [layer.name for layer in n.to_proto().layer] == ["data", "silence"]
    assert [layer.name for layer in to_proto(n.silence, unnamed).layer] == ["DummyData1", "Silence1", "Silence2"]
    n.silence2 = unnamed
    assert caffe.Net(n.to_proto(), caffe.TEST).forward() == {}


def test_a_deep_net_without_names() -> None:
    top = L.Input()
    for _ in range(3000):
        top = L.ReLU(top, in_place=True)
    assert top.to_proto().layer[-1].name == "ReLU3000"


def test_settings_find_their_place() -> None:
    n = NetSpec()
    n.data = L.Python(
        module="data", layer="Images", param_str="{'split': 'val'}", ntop=1, include=dict(phase=caffe.TEST)
    )
    n.conv = L.Convolution(
        n.data,
        name="first",
        num_output=4,
        kernel_size=[3, 5],
        pad=1,
        param=[dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)],
        engine=P.Convolution.CAFFE,
    )
    n.up = L.Deconvolution(n.conv, convolution_param=dict(num_output=4, kernel_size=2, stride=2), param=dict(lr_mult=0))
    n.boxes = L.DetectionOutput(n.up, n.up, n.up, num_classes=2, nms_param=dict(top_k=9))
    n.six = L.ReLU6(n.up, negative_slope=0.1)
    n.loss = L.SoftmaxWithLoss(
        n.six, n.data, loss_weight=0.5, propagate_down=[True, False], loss_param=dict(ignore_label=255, normalize=False)
    )
    assert n.to_proto() == parsed(
        """
        layer { name: "data" type: "Python" top: "data" include { phase: TEST }
                python_param { module: "data" layer: "Images" param_str: "{'split': 'val'}" } }
        layer { name: "first" type: "Convolution" bottom: "data" top: "conv"
                param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
                convolution_param { num_output: 4 kernel_size: 3 kernel_size: 5 pad: 1 engine: CAFFE } }
        layer { name: "up" type: "Deconvolution" bottom: "conv" top: "up" param { lr_mult: 0 }
                convolution_param { num_output: 4 kernel_size: 2 stride: 2 } }
        layer { name: "boxes" type: "DetectionOutput" bottom: "up" bottom: "up" bottom: "up" top: "boxes"
                detection_output_param { num_classes: 2 nms_param { top_k: 9 } } }
        layer { name: "six" type: "ReLU6" bottom: "up" top: "six" relu6_param { negative_slope: 0.1 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "six" bottom: "data" top: "loss" loss_weight: 0.5
                propagate_down: true propagate_down: false loss_param { ignore_label: 255 normalize: false } }
        """
    )


def test_update_changes_a_layer() -> None:
    n = NetSpec()
    n.conv = L.Convolution(L.Input(), num_output=4, kernel_size=3)
    n.update("conv", dict(num_output=8, stride=2))
    param = n.to_proto().layer[1].convolution_param
    assert (param.num_output, list(param.kernel_size), list(param.stride)) == (8, [3], [2])


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("loss_weight", 2, "loss_weight: 2"),
        ("loss_weight", (1, 0.5), "loss_weight: 1 loss_weight: 0.5"),
        ("loss_weight", [], ""),
        ("convolution_param", dict(pad=np.array([1, 2])), "convolution_param { pad: 1 pad: 2 }"),
        ("convolution_param", dict(group=np.int64(3)), "convolution_param { group: 3 }"),
        ("input_param", dict(shape=dict(dim=7)), "input_param { shape { dim: 7 } }"),
        ("include", [dict(phase=0, stage=["a", "b"]), dict(min_level=1)], None),
        ("pooling_param", dict(pool="AVE"), "pooling_param { pool: AVE }"),
    ],
)
def test_assign_proto(name: str, value: Any, text: str | None) -> None:
    layer = LayerParameter()
    assign_proto(layer, name, value)
    expected = 'include { phase: TRAIN stage: "a" stage: "b" } include { min_level: 1 }' if text is None else text
    assert layer == prototxt.parse(expected, LayerParameter)


def test_names_of_settings() -> None:
    names = param_name_dict()
    assert names["Convolution"] == "convolution"
    assert names["InnerProduct"] == "inner_product"
    assert names["LRN"] == "lrn"
    assert names["ReLU"] == "relu"  # of which relu6_param is too
    assert names["HDF5Output"] == "hdf5_output"


def test_a_spec_is_read_back() -> None:
    n = NetSpec()
    n.data, n["label"] = L.DummyData(ntop=2)
    assert isinstance(n.data, Top)
    assert n["data"] is n.data is n.tops["data"]
    assert n.keys() == ["data", "label"] == [name for name in dir(n) if name in ("data", "label")]
    assert n.vals() == [n.data, n.label]
    assert not hasattr(n, "loss")
    assert copy.deepcopy(n).to_proto() == n.to_proto()


def test_layers_is_pycaffes_and_the_package_of_layer_types() -> None:
    from caffepy.layers import Convolution, activation

    assert isinstance(activation, ModuleType)
    assert isinstance(L.activation, ModuleType)
    assert Convolution(L.Input(), num_output=1).fn.type_name == "Convolution"
    assert "num_output" in (L.Convolution.__doc__ or "")
    assert {"Convolution", "Data", "Python", "activation"} <= set(dir(L))
    assert not hasattr(L, "convolution_")
    assert Function("Sinkhorn", (L.Input(),), {}).tops[0].to_proto().layer[1].type == "Sinkhorn"


@pytest.mark.parametrize(("name", "number"), [("MAX", 0), ("AVE", 1), ("STOCHASTIC", 2)])
def test_params(name: str, number: int) -> None:
    assert getattr(P.Pooling, name) == number


def spec(**settings: Any) -> NetParameter:
    n = NetSpec()
    n.conv1 = L.Convolution(L.Input(), **settings)
    return n.to_proto()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: L.Convolutoin, AttributeError, "no layer type 'Convolutoin'; did you mean 'Convolution'"),
        (lambda: P.Poolin.MAX, AttributeError, "no settings of 'Poolin'; did you mean 'Pooling'"),
        (lambda: P.Pooling.MAXX, AttributeError, "Pooling has no value 'MAXX'; did you mean 'MAX'"),
        (lambda: P.Threshold.MAX, AttributeError, "it has none"),
        (lambda: L.ReLU(L.DummyData(ntop=2)), TypeError, r"^ReLU input 0 is not a Top \(type is <class 'tuple'>\)"),
        (lambda: L.ReLU(ntop="1"), ArgumentError, "ntop is '1'"),
        (lambda: setattr(NetSpec(), "data", L.DummyData(ntop=2)), ArgumentError, "got 2 tops: give each a name"),
        (lambda: setattr(NetSpec(), "data", 3), ArgumentError, "n.data: expected what one layer returns.* got 3"),
        (lambda: to_proto(L.DummyData(ntop=2)), ArgumentError, "one by one"),
        (lambda: NetSpec()["data"], KeyError, "no 'data'"),
        (lambda: spec(kernelsize=3), UnknownFieldError, r"layer 'conv1' \(Convolution\).*'kernelsize'.*'kernel_size'"),
        (
            lambda: spec(weight_filler=dict(typ="xavier")),
            UnknownFieldError,
            "FillerParameter has no field 'typ'.*'type'",
        ),
        (lambda: spec(lr_mult=1), UnknownFieldError, r"param has: param=dict\(lr_mult=\.\.\.\)"),
        (
            lambda: L.Deconvolution(L.Input(), num_output=3).to_proto(),
            UnknownFieldError,
            r"layer 'Deconvolution1'.*convolution_param=dict\(num_output=\.\.\.\)",
        ),
        (lambda: spec(num_output="many"), ArgumentError, "'conv1'.*num_output takes a whole number.* got 'many'"),
        (lambda: spec(num_output=9 / 2), ArgumentError, r"num_output takes a whole number.* got 4\.5"),
        (lambda: spec(num_output=float("inf")), ArgumentError, r"num_output takes a whole number.* got inf"),
        (lambda: spec(num_output=[3]), ArgumentError, r"num_output takes a whole number.* got \[3\]"),
        (lambda: spec(bias_term="no"), ArgumentError, "bias_term takes True or False, got 'no'"),
        (lambda: spec(weight_filler="xavier"), ArgumentError, "weight_filler takes a dict of its fields, got 'xavier'"),
        (lambda: spec(engine=17), ArgumentError, "engine takes DEFAULT or CAFFE or CUDNN.* got 17"),
        (lambda: spec(param=[3]), ArgumentError, r"param takes a dict of its fields, got \[3\]"),
    ],
)
def test_mistakes(wrong: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        wrong()


def test_values_of_other_types_that_say_the_same() -> None:
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": range(1, 5)})
    n.conv = L.Convolution(n.data, num_output=64 / 2, kernel_size=map(int, "35"), pad=np.int64(1), bias_term=np.False_)
    n.one, n.other = L.Slice(n.data, axis=-1.0, slice_point=(point for point in (2,)), ntop=np.int64(2))
    n.images = L.Data(source=Path("train") / "lmdb", batch_size=np.float64(8))
    data, conv, slices, images = n.to_proto().layer
    assert list(data.input_param.shape[0].dim) == [1, 2, 3, 4]
    found = conv.convolution_param
    assert (found.num_output, list(found.kernel_size), list(found.pad), found.bias_term) == (32, [3, 5], [1], False)
    assert (slices.slice_param.axis, list(slices.slice_param.slice_point), len(slices.top)) == (-1, [2], 2)
    assert (images.data_param.source, images.data_param.batch_size) == (str(Path("train/lmdb")), 8)


def test_the_sentence_for_a_tuple_of_tops_is_pycaffes() -> None:
    tops = caffe.layers.DummyData(shape=[{"dim": [1]}, {"dim": [1]}], ntop=2)
    with pytest.raises(TypeError) as caught:
        caffe.layers.Silence(tops, ntop=0)
    assert str(caught.value) == "Silence input 0 is not a Top (type is <class 'tuple'>)"
    assert caught.value.__notes__ == [
        "give what L.SomeLayer(...) returns, each by itself where that is several: L.Silence(*tops)"
    ]


@pytest.mark.parametrize(
    ("settings", "holder"),
    [({"across_spatial": False, "channel_shared": False}, "norm_param"), ({"normalize_type": "L1"}, "normalize_param")],
)
def test_settings_are_found_by_their_messages_name(settings: dict[str, Any], holder: str) -> None:
    n = NetSpec()
    n.x = L.Input(shape={"dim": [1, 2]})
    n.n = L.Normalize(n.x, **settings)
    layer = n.to_proto().layer[1]
    assert [field.name for field, _ in layer.ListFields() if field.name.endswith("_param")] == [holder]
    for name, value in settings.items():
        assert getattr(getattr(layer, holder), name) == value
    assert param_name_dict()["Normalize"] == "norm"
    assert param_name_dict()["ReLU"] == "relu"
