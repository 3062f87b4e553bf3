"""Layers of one name: what Caffe saves by position and loads by name."""

import logging
from pathlib import Path

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import ArgumentError, ProtoError, WeightsError
from caffepy.net import Net
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.proto.caffemodel import open_weights, write_weights
from tests.nets import make

FC = """layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top}"
    inner_product_param {{ num_output: 2 bias_term: false
        weight_filler {{ type: "constant" value: {value} }} }} {more} }}
"""
INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }\n'
RELU = 'layer {{ name: "fc" type: "ReLU" bottom: "{bottom}" top: "{top}" }}\n'


def fc(name: str, bottom: str, top: str, value: float, more: str = "") -> str:
    return FC.format(name=name, bottom=bottom, top=top, value=value, more=more)


TWICE = INPUT + fc("fc", "x", "a", 3) + fc("fc", "a", "b", 5)
"""x = (1, 1): a = 6, b = 60."""
RELU_LAST = INPUT + fc("fc", "x", "a", 3) + RELU.format(bottom="a", top="b")
RELU_FIRST = INPUT + RELU.format(bottom="x", top="a") + fc("fc", "a", "b", 3)


def of_ones(net: caffe.Net) -> float:
    """An element of the output for ones; both are alike."""
    net.blobs["x"].data[...] = 1
    return float(net.forward()["b"][0, 0])


def firsts(net: Net) -> list[float]:
    return [float(layer.blobs[0].data[0, 0]) for layer in net.execution.layers if layer.blobs]


def test_a_saved_layer_keeps_its_place(tmp_path: Path) -> None:
    make(TWICE).save(tmp_path / "net.caffemodel")
    with open_weights(tmp_path / "net.caffemodel") as stored:
        assert [(name, [float(blob.array()[0, 0]) for blob in blobs]) for name, blobs in stored.each] == [
            ("in", []),
            ("fc", [3]),
            ("fc", [5]),
        ]
    raw = NetParameter.FromString((tmp_path / "net.caffemodel").read_bytes())
    assert [list(layer.blobs[0].data)[:1] for layer in raw.layer[1:]] == [[3], [5]]


def test_the_first_of_a_name_gets_what_the_file_has_last_and_the_others_their_fillers(tmp_path: Path, caplog) -> None:
    net = make(TWICE)
    net.save(tmp_path / "net.caffemodel")
    other = make(TWICE.replace("value: 5", "value: 7"))
    with caplog.at_level(logging.WARNING, "caffepy"):
        other.copy_from(tmp_path / "net.caffemodel")
    assert firsts(other) == [5, 7]
    assert of_ones(other) == 140
    assert "several layers are named fc" in caplog.text
    built = make(TWICE.replace("value: 5", "value: 7"), weights=tmp_path / "net.caffemodel")
    assert firsts(built) == [5, 7]


@pytest.mark.parametrize("text", [TWICE, RELU_LAST, RELU_FIRST])
def test_a_file_alone_gives_each_layer_its_own(tmp_path: Path, text: str) -> None:
    net = make(text)
    net.save(tmp_path / "net.caffemodel")
    alone = caffe.Net(tmp_path / "net.caffemodel", caffe.TEST)
    assert firsts(alone) == firsts(net)
    assert of_ones(alone) == of_ones(net) == (60 if text == TWICE else 6)


def test_a_file_alone_knows_which_phases_layer_is_which(tmp_path: Path) -> None:
    text = (
        INPUT
        + fc("fc", "x", "b", 3, "include { phase: TRAIN }")
        + fc("fc", "x", "b", 5, "include { phase: TEST }")
        + fc("fc", "b", "c", 1)
        + 'layer { name: "s" type: "Silence" bottom: "b" }'
    )
    net = prototxt.parse(text, NetParameter)
    blobs = [[], [np.full((2, 2), 30)], [np.full((2, 2), 50)], [np.full((2, 2), 10)], []]
    write_weights(tmp_path / "both.caffemodel", net, blobs)
    assert firsts(caffe.Net(tmp_path / "both.caffemodel", caffe.TRAIN)) == [30, 10]
    assert firsts(caffe.Net(tmp_path / "both.caffemodel", caffe.TEST)) == [50, 10]


@pytest.mark.parametrize("text", [RELU_LAST, RELU_FIRST])
@pytest.mark.parametrize("name", ["net.caffemodel", "net.caffemodel.h5"])
def test_a_layer_without_weights_takes_none_from_its_namesake(tmp_path: Path, text: str, name: str) -> None:
    make(text).save(tmp_path / name)
    other = make(text.replace("value: 3", "value: 4"))
    report = other.copy_from(tmp_path / name)
    assert (report.loaded, report.unused, report.unfilled) == (["fc"], [], [])
    assert firsts(other) == [3]
    assert firsts(make(text.replace("value: 3", "value: 4"), weights=tmp_path / name)) == [3]


def test_weights_for_a_name_that_only_a_relu_has_do_not_fit(tmp_path: Path) -> None:
    make(RELU_LAST).save(tmp_path / "net.caffemodel")
    net = make(INPUT + RELU.format(bottom="x", top="b"))
    with pytest.raises(WeightsError, match=r"layer 'fc' \(ReLU\): .* 1 blob\(s\) for it, the net 0"):
        net.copy_from(tmp_path / "net.caffemodel")


def test_tables_of_names_refuse_two_of_one(tmp_path: Path) -> None:
    net = make(TWICE)
    for call in (net.save_hdf5, net.save_safetensors):
        with pytest.raises(ProtoError, match=r"several layers with weights are named 'fc'.*write a .caffemodel"):
            call(tmp_path / "net.out")
    assert not list(tmp_path.iterdir())


def test_hdf5_fills_the_last_of_a_name(tmp_path: Path) -> None:
    make(INPUT + fc("fc", "x", "b", 9)).save(tmp_path / "net.h5")
    net = make(TWICE)
    report = net.copy_from(tmp_path / "net.h5")
    assert firsts(net) == [3, 9]  # layer_names_index_ has the last one: CopyTrainedLayersFromHDF5
    assert report.unfilled == ["fc"]


def test_sharing_gives_the_first_what_the_other_has_last() -> None:
    net, other = make(TWICE.replace("value: 5", "value: 7")), make(TWICE)
    net.share_with(other)
    assert firsts(net) == [5, 7]
    other.execution.layers[2].blobs[0].data[...] = 8
    assert firsts(net) == [8, 7]


def test_a_definition_may_hold_weights(tmp_path: Path) -> None:
    make(TWICE).save(tmp_path / "net.caffemodel")
    message = NetParameter.FromString((tmp_path / "net.caffemodel").read_bytes())
    message.layer[1].blobs[0].data[:] = [11] * 4
    net = caffe.Net(message, caffe.TEST)
    assert firsts(net) == [11, 5]
    assert [len(layer.blobs) for layer in (message.layer[1], net.param.layer[1])] == [1, 0]
    assert firsts(caffe.Net(message, caffe.TEST, weights=tmp_path / "net.caffemodel")) == [5, 5]
    (tmp_path / "net.prototxt").write_text(prototxt.format(message))
    assert firsts(caffe.Net(tmp_path / "net.prototxt", caffe.TEST)) == [11, 5]
    del message.layer[2].blobs[0].data[:]
    with pytest.raises(ProtoError, match=r"layer 'fc', blob 0: .* 4 values, and 0 are stored"):
        caffe.Net(message, caffe.TEST)


def test_writing_by_name_is_writing_the_first(tmp_path: Path) -> None:
    net = prototxt.parse(TWICE, NetParameter)
    write_weights(tmp_path / "net.caffemodel", net, {"fc": [np.ones((2, 2))]})
    raw = NetParameter.FromString((tmp_path / "net.caffemodel").read_bytes())
    assert [len(layer.blobs) for layer in raw.layer] == [0, 1, 0]
    with pytest.raises(ArgumentError, match="blobs of 2 layers for a net of 3"):
        write_weights(tmp_path / "net.caffemodel", net, [[], []])


def test_a_version_is_found_by_the_layer_that_wrote_it() -> None:
    net = make(
        INPUT
        + 'layer { name: "s" type: "Power" bottom: "x" top: "y" power_param { scale: 2 } }'
        + 'layer { name: "q" type: "Power" bottom: "y" top: "b" power_param { scale: 3 } }'
        + 'layer { name: "s" type: "ReLU" bottom: "b" top: "b" }'
    )
    net.blobs["x"].data[...] = 1
    net.forward()
    assert net.gradient({"b": 1.0}, [("b", "s")])["b", "s"].tolist() == [[1, 1]]
    assert net.gradient({("b", "s"): 1.0})["x"].tolist() == [[6, 6]]
