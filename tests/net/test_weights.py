"""Weights in and out of a net."""

import logging

import h5py
import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import CaffeError, ProtoError, WeightsError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import BlobProto, NetParameter
from tests.nets import CHAIN, FORK, make


def weights_of(net: caffe.Net) -> dict[str, list[np.ndarray]]:
    return {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}


def same(one: dict[str, list[np.ndarray]], other: dict[str, list[np.ndarray]]) -> bool:
    return list(one) == list(other) and all(
        np.array_equal(a, b) for name in one for a, b in zip(one[name], other[name], strict=True)
    )


@pytest.mark.parametrize("name", ["net.caffemodel", "net.caffemodel.h5"])
def test_saved_weights_come_back(tmp_path, name: str) -> None:
    saved, other = make(CHAIN, seed=1), make(CHAIN, seed=2)
    assert not same(weights_of(saved), weights_of(other))
    saved.save(tmp_path / name)
    report = other.copy_from(tmp_path / name)
    assert same(weights_of(saved), weights_of(other))
    assert (report.loaded, report.unused, report.unfilled) == (["conv1", "fc"], [], [])


def test_a_file_holds_the_net_itself(tmp_path) -> None:
    saved = make(FORK)
    saved.save(tmp_path / "net.caffemodel")
    alone = caffe.Net(tmp_path / "net.caffemodel", caffe.TEST)
    assert list(alone.blobs) == list(saved.blobs)
    assert same(weights_of(saved), weights_of(alone))


def test_hdf5_weights_alone_are_no_net(tmp_path) -> None:
    make(CHAIN).save(tmp_path / "net.caffemodel.h5")
    with pytest.raises(WeightsError, match="HDF5 weights hold no net; give its prototxt"):
        caffe.Net(tmp_path / "net.caffemodel.h5", caffe.TEST)


def test_a_net_that_cannot_be_upgraded_names_its_file(tmp_path) -> None:
    (tmp_path / "mixed.prototxt").write_text('layer { name: "a" type: "ReLU" } layers { name: "b" type: RELU }')
    with pytest.raises(ProtoError, match=r"mixed\.prototxt: "):
        caffe.Net(tmp_path / "mixed.prototxt", caffe.TEST)


def test_matching_is_by_name_and_the_rest_is_listed(tmp_path, caplog) -> None:
    make(CHAIN, seed=1).save(tmp_path / "net.caffemodel")
    net = make(CHAIN.replace('"fc"', '"score"'), seed=2)
    before = weights_of(net)
    with caplog.at_level(logging.WARNING, "caffepy"):
        report = net.copy_from(tmp_path / "net.caffemodel")
    assert (report.loaded, report.unused, report.unfilled) == (["conv1"], ["fc"], ["score"])
    assert "layers that this net does not have: fc" in caplog.text
    assert "no weights for layers: score" in caplog.text
    assert np.array_equal(net.params["score"][0].data, before["score"][0])
    assert not np.array_equal(net.params["conv1"][0].data, before["conv1"][0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("num_output: 5", "num_output: 6"),
            r"layer 'fc' \(InnerProduct\): weight blob 0 has shape \(6, 36\) in the net and \(5, 36\) in",
        ),
        (("num_output: 5", "num_output: 5 bias_term: false"), r"layer 'fc' .* has 2 blob\(s\) for it, the net 1"),
    ],
)
def test_a_mismatch_changes_nothing(tmp_path, change: tuple[str, str], message: str) -> None:
    make(CHAIN, seed=1).save(tmp_path / "net.caffemodel")
    net = make(CHAIN.replace(*change), seed=2)
    before = weights_of(net)
    with pytest.raises(WeightsError, match=message):
        net.copy_from(tmp_path / "net.caffemodel")
    assert same(weights_of(net), before)
    with pytest.raises(WeightsError, match="use the prototxt these weights were trained with, or rename the layer"):
        make(CHAIN.replace(*change), weights=tmp_path / "net.caffemodel")


def test_transposed_weights_get_the_way_out(tmp_path) -> None:
    make(CHAIN).save(tmp_path / "net.caffemodel")
    with pytest.raises(WeightsError, match="to reshape them, load them into the old net and copy the arrays"):
        make(CHAIN.replace("num_output: 5", "num_output: 5 transpose: true"), weights=tmp_path / "net.caffemodel")


def test_legacy_shapes_count_from_the_end(tmp_path) -> None:
    param = prototxt.parse(CHAIN, NetParameter)
    weight, bias = np.arange(180, dtype=np.float32).reshape(5, 36), np.arange(5, dtype=np.float32)
    for values, height in ((weight, 5), (bias, 1)):
        width = values.size // height
        param.layer[4].blobs.append(BlobProto(num=1, channels=1, height=height, width=width, data=values.ravel()))
    (tmp_path / "old.caffemodel").write_bytes(param.SerializeToString())
    net = make(CHAIN, weights=tmp_path / "old.caffemodel")
    np.testing.assert_array_equal(net.params["fc"][0].data, weight)
    np.testing.assert_array_equal(net.params["fc"][1].data, bias)


def test_loading_draws_no_random_numbers(tmp_path) -> None:
    make(CHAIN).save(tmp_path / "net.caffemodel")
    caffe.set_random_seed(5)
    expected = make(FORK, seed=5).params["a"][0].data
    caffe.set_random_seed(5)
    caffe.Net(tmp_path / "net.caffemodel", caffe.TEST)
    after = caffe.Net(prototxt.parse(FORK, NetParameter), caffe.TEST).params["a"][0].data
    np.testing.assert_array_equal(after, expected)


def test_fillers_repeat_with_the_seed() -> None:
    assert same(weights_of(make(CHAIN, seed=3)), weights_of(make(CHAIN, seed=3)))
    assert not same(weights_of(make(CHAIN, seed=3)), weights_of(make(CHAIN, seed=4)))


SIAMESE = FORK.replace("dim: 2 dim: 3", "dim: 2 dim: 4").replace(
    "inner_product_param { num_output: 4", 'param { name: "w" } param { name: "b" } inner_product_param { num_output: 4'
)


@pytest.mark.parametrize("name", ["net.caffemodel", "net.caffemodel.h5"])
def test_shared_weights_are_saved_and_loaded(tmp_path, name: str) -> None:
    saved, net = make(SIAMESE, seed=1), make(SIAMESE, seed=2)
    saved.save(tmp_path / name)
    net.copy_from(tmp_path / name)
    assert same(weights_of(saved), weights_of(net))
    assert np.shares_memory(net.params["a"][0].data, net.params["b"][0].data)


def test_the_first_of_shared_weights_fills_them() -> None:
    net = make(SIAMESE.replace('weight_filler { type: "xavier" }', "weight_filler { value: 3 }", 1))
    assert (net.params["b"][0].data == 3).all()


def test_permissive_sharing_needs_equal_counts_only() -> None:
    strict = """
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
        layer { name: "y" type: "Input" top: "y" input_param { shape { dim: 1 dim: 3 } } }
        layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" }
                inner_product_param { num_output: 3 } }
        layer { name: "b" type: "InnerProduct" bottom: "y" top: "b" param { name: "w" }
                inner_product_param { num_output: 2 } }"""
    with pytest.raises(CaffeError, match=r"layer 'b' .*param 'w' has shape \(2, 3\) here and \(3, 2\) .*PERMISSIVE"):
        make(strict)
    net = make(strict.replace('"b" param { name: "w"', '"b" param { name: "w" share_mode: PERMISSIVE'))
    net.params["a"][0].data[...] = [[1, 2], [3, 4], [5, 6]]
    assert net.params["b"][0].data.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_share_with_another_net() -> None:
    one, other = make(CHAIN, seed=1), make(CHAIN, seed=2)
    other.share_with(one)
    assert np.shares_memory(other.params["conv1"][0].data, one.params["conv1"][0].data)
    assert not np.shares_memory(other.params["conv1"][0].diff, one.params["conv1"][0].diff)
    with pytest.raises(
        WeightsError, match=r"weight blob 0 has shape \(6, 36\) in the net and \(5, 36\) in the other net"
    ):
        make(CHAIN.replace("num_output: 5", "num_output: 6")).share_with(one)


def test_diffs_can_be_saved(tmp_path) -> None:
    net = make("force_backward: true" + CHAIN)
    net.params["fc"][1].diff[...] = 4
    net.save(tmp_path / "net.caffemodel", diffs=True)
    stored = NetParameter.FromString((tmp_path / "net.caffemodel").read_bytes())
    assert list(stored.layer[-1].blobs[1].diff) == [4] * 5


def test_a_truncated_file_leaves_the_net_as_it_was(tmp_path) -> None:
    make(CHAIN, seed=1).save(tmp_path / "net.caffemodel")
    whole = (tmp_path / "net.caffemodel").read_bytes()
    (tmp_path / "cut.caffemodel").write_bytes(whole[:-100])
    net = make(CHAIN, seed=2)
    before = weights_of(net)
    with pytest.raises(CaffeError, match=r"cut\.caffemodel"):
        net.copy_from(tmp_path / "cut.caffemodel")
    assert same(weights_of(net), before)


def test_a_damaged_hdf5_file_leaves_the_net_as_it_was(tmp_path) -> None:
    make(CHAIN, seed=1).save(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "a") as file:
        shape = file["data/fc/0"].shape
        del file["data/fc/0"]
        file.create_dataset("data/fc/0", data=np.ones(shape, "f4"), chunks=shape, compression="gzip")
        file["data/fc/0"].id.write_direct_chunk((0, 0), b"no zlib stream")
    net = make(CHAIN, seed=2)
    before = weights_of(net)
    with pytest.raises(ProtoError, match=r"cannot read /data/fc/0"):
        net.copy_from(tmp_path / "net.h5")
    assert same(weights_of(net), before)


def test_weights_that_a_failed_file_declares_are_taken_back(tmp_path) -> None:
    norm = 'layer { name: "bn" type: "BatchNorm" bottom: "pool1" top: "bn" batch_norm_param { %s } }\n'
    head, fc = CHAIN.split('layer { name: "fc"')
    text = head + norm + 'layer { name: "fc"' + fc.replace('"pool1"', '"bn"')
    make((text % "scale_bias: true").replace("num_output: 5", "num_output: 6")).save(tmp_path / "net.caffemodel")
    net = make(text % "")
    before = weights_of(net)
    with pytest.raises(WeightsError, match="'fc'"):
        net.copy_from(tmp_path / "net.caffemodel")
    assert same(weights_of(net), before)
    net.forward()
