"""Settings that caffepy does not act on, and those that its schema does not have."""

from pathlib import Path

import pytest

import caffepy
from caffepy.errors import CaffeError, ProtoError, UnknownFieldError
from caffepy.proto import caffe_pb2, prototxt
from caffepy.proto.caffe_pb2 import TEST, TRAIN, NetParameter, SolverParameter
from caffepy.proto.caffemodel import write_weights
from caffepy.proto.settings import RULES, rule_of, settle, settle_solver
from caffepy.proto.upgrade import upgrade_net
from tests.shared import ROOT

PHASES = (TEST, TRAIN)
FORKS_FROM = 50000


def settled(text: str, phase: int = TEST) -> tuple[NetParameter, list[str]]:
    net = prototxt.parse_net(text)
    upgrade_net(net)
    return net, settle(net, phase)


def plain(text: str) -> NetParameter:
    return prototxt.parse(text, NetParameter)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("value", ["CUDNN", "MKL2017", "MKLDNN", "SOMETHING", "17", '"MKLDNN:CPU"'])
@pytest.mark.parametrize(
    "param",
    [
        "batch_norm",
        "concat",
        "convolution",
        "dropout",
        "eltwise",
        "elu",
        "inner_product",
        "lrn",
        "permute",
        "pooling",
        "prelu",
    ],
)
def test_any_engine_in_any_message(param: str, value: str, phase: int) -> None:
    text = f'layer {{ name: "a" {param}_param {{ engine: {value} }} }} layer {{ name: "b" {param}_param {{ }} }}'
    net, (note,) = settled(text, phase)
    assert net == plain(f'layer {{ name: "a" {param}_param {{ }} }} layer {{ name: "b" {param}_param {{ }} }}')
    assert note.startswith("engine (1 times) is ignored")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    "setting",
    [
        "quantization_param { bw_layer_in: 8 precision: DYNAMIC_FIXED_POINT }",
        "quantization_param { any: 3 of { these: [1, 2] } precision: OTHER }",
        "soft_nms: false",
        "detection_output_param { nms_param { soft_nms: false } }",
        "prior_box_param { extra_ar: false }",
        "convolution_param { conv_algorithm: 'winograd' conv_algos_override: '0,1' }",
        "forward_type: FLOAT16 backward_math: FLOAT debug: true",
        "quantize_net: false",
    ],
)
def test_what_changes_nothing(setting: str, phase: int) -> None:
    net, notes = settled(f'layer {{ name: "a" {setting} }}', phase)
    assert notes
    assert not prototxt.format(net).count("quant")
    (layer,) = net.layer
    assert layer.name == "a"
    assert not layer.unread


@pytest.mark.parametrize("setting", ["bn_stats_batch_size: 32", "bn_stats_batch_size: 0"])
def test_what_belongs_to_training(setting: str) -> None:
    net, (note,) = settled(setting)
    assert net == NetParameter()
    assert note.startswith("bn_stats_batch_size (1 times) is ignored")
    if setting.endswith("32"):
        with pytest.raises(ProtoError, match="net '': bn_stats_batch_size: 32 takes BatchNorm's statistics"):
            settled(setting, TRAIN)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("quantize_net: true", "net '': quantize_net: true rounds values"),
        (
            'layer { name: "a" transform_param { img_rand_resize_lower: 256 } }',
            "img_rand_resize_lower: 256 changes pictures",
        ),
        ('layer { name: "a" soft_nms: true }', "layer 'a': soft_nms: true lowers scores"),
        ('layer { name: "a" convolution_param { relu: true } }', "layer 'a': relu: true joins a ReLU"),
        ('layer { name: "a" eltwise_param { coeff_blob: true } }', "layer 'a': coeff_blob: true takes"),
    ],
)
def test_what_would_change_something(text: str, says: str) -> None:
    with pytest.raises(ProtoError, match=says):
        settled(text)


def test_one_line_for_many_layers() -> None:
    text = "".join(f'layer {{ name: "{i}" elu_param {{ engine: A{i} }} quantization_param {{ }} }}' for i in range(50))
    _, notes = settled(text)
    assert [note.split(" is")[0] for note in notes] == ["engine (50 times)", "quantization_param (50 times)"]


def test_the_other_phases_layers_may_have_any_field(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        """
        layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 } } include { phase: TEST } }
        layer {
          name: "data" type: "SomeData" top: "x" include { phase: TRAIN }
          transform_param { rotate: [1, 2] crop_size: 3 crop_size: 4 } some_param < source: "a" "b" kind: ODD >
          data_param { backend: SQLITE }
        }
        layer { name: "relu" type: "ReLU" bottom: "x" top: "y" }"""
    )
    assert list(caffepy.Net(path, TEST).blobs) == ["x", "y"]
    with pytest.raises(UnknownFieldError, match=r"net.prototxt:5:29: TransformationParameter has no field 'rotate'"):
        caffepy.Net(path, TRAIN)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("layer { relu_param { negative_slop: 1 } }", "1:22: ReLUParameter has no field 'negative_slop'; did you mean"),
        ("layer { pooling_param { pool: MIX } }", "1:25: PoolingParameter.PoolMethod has no value MIX; it has MAX"),
        ("layer { pooling_param { pool: 7 } }", "1:25: PoolingParameter.PoolMethod has no value 7; it has MAX"),
        ('layer { name: "a" name: "b" }', "1:19: 'name' is given a second time in LayerParameter"),
        ("nmae: 'a'", "1:1: NetParameter has no field 'nmae'; did you mean 'name'"),
        ("layers { lrn_param { local: 3 } }", "1:22: LRNParameter has no field 'local'"),
    ],
)
def test_other_errors_stay(text: str, says: str) -> None:
    with pytest.raises(CaffeError, match=says):
        settled(text)


@pytest.mark.parametrize(
    "text",
    [
        "layer { relu_param { negative_slop: 1 }",
        "layer { relu_param { negative_slop 1 } }",
        "layer { relu_param { negative_slop: } }",
        "layer { relu_param { engine: A } } }",
        "layer { relu_param { engine: A } name: 3 }",
        "layer { name: 'a relu_param { engine: A } }",
        "layer { relu_param { engine: [ } }",
        "engine",
        "layer { relu_param { engine: A } } :",
    ],
)
def test_text_that_is_broken_too_is_explained_as_before(text: str) -> None:
    with pytest.raises(ProtoError) as strict:
        prototxt.parse(text, NetParameter, "a")
    with pytest.raises(ProtoError) as lenient:
        prototxt.parse_net(text, "a")
    assert str(strict.value) == str(lenient.value)


@pytest.mark.parametrize("text", ["larc: true", "rampup_interval: 100", "warmup_iter: 3"])
def test_solvers_that_would_do_something_else(text: str) -> None:
    with pytest.raises(ProtoError, match=f"the solver: {text} .*; caffepy does not have it"):
        settle_solver(prototxt.parse(text, SolverParameter))


def test_solvers_of_forks() -> None:
    text = (
        'eval_type: "detection" ap_version: "11point" larc: false rampup_lr: 1 solver_data_type: FLOAT16 warmup_iter: 0'
    )
    param = prototxt.parse(f"{text} base_lr: 2 net_param {{ engine: 'MKL2017' }}", SolverParameter)
    assert len(settle_solver(param)) == 6
    assert param == prototxt.parse("base_lr: 2 net_param { engine: 'MKL2017' }", SolverParameter)


def test_what_is_unread_is_never_written(tmp_path: Path) -> None:
    net = prototxt.parse_net('layer { name: "a" relu_param { engine: A } }')
    assert net.layer[0].unread
    caffe_pb2.NetParameter.FromString(net.SerializeToString())
    write_weights(tmp_path / "a.caffemodel", net, {})
    assert b"engine" not in (tmp_path / "a.caffemodel").read_bytes()


def test_every_rule_has_a_field_or_stands_for_an_unknown_one() -> None:
    known = {name for message in caffe_pb2.DESCRIPTOR.message_types_by_name.values() for name in message.fields_by_name}
    assert {rule.split(".")[-1] for rule in RULES} - known == {"extra_ar"}


def test_every_field_that_forks_added_to_caffes_messages_is_acted_on_or_has_a_rule() -> None:
    generated = ("_descriptor.py", "settings.py")
    sources = "".join(path.read_text() for path in (ROOT / "caffepy").rglob("*.py") if path.name not in generated)
    others = "LayerParameter", "ImageDataParameter"
    idle = []
    for message in caffe_pb2.DESCRIPTOR.message_types_by_name.values():
        if message.name.endswith("Parameter") and not message.name.startswith(("V0", "V1", *others)):
            forks = [field.name for field in message.fields if field.number >= FORKS_FROM]
            idle += [(message.name, name) for name in forks if name not in sources and not rule_of(message.name, name)]
    assert idle == []
