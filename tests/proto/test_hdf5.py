"""HDF5 weights: a file of real Caffe, our own, and damaged ones."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from caffepy.errors import ProtoError, StateError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter
from caffepy.proto.caffemodel import open_weights, write_weights
from tests.shared import ROOT

GOLDEN = ROOT / "tests" / "golden" / "caffemodels"
MODEL = GOLDEN / "h5_sgd_iter_3.caffemodel.h5"


def test_a_file_of_real_caffe() -> None:
    expected = np.load(GOLDEN / "weights.npz")
    with open_weights(MODEL) as weights:
        assert weights.net == NetParameter()
        assert list(weights.layers) == ["conv", "ip"]
        for name, blobs in weights.layers.items():
            for index, blob in enumerate(blobs):
                values = expected[f"h5_sgd_iter_3/{name}/{index}"]
                assert (blob.shape, blob.legacy, blob.index) == (values.shape, False, index)
                assert np.array_equal(blob.array(), values)
                out = np.zeros(values.size, np.float32)
                blob.copy_into(out)
                assert np.array_equal(out, values.ravel())


def test_content_counts_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "net.caffemodel").write_bytes(MODEL.read_bytes())
    with open_weights(tmp_path / "net.caffemodel") as weights:
        assert list(weights.layers) == ["conv", "ip"]


def contents(path: Path) -> dict[str, tuple[object, ...] | None]:
    """Every group (None) and data set (its type, shape and values) in the file."""
    found: dict[str, tuple[object, ...] | None] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update(
                {name: (item.dtype.str, item.shape, item[()].tolist()) if isinstance(item, h5py.Dataset) else None}
            )
        )
    return found


@pytest.mark.parametrize("name", ["net.caffemodel.h5", "NET.HDF5"])
def test_what_we_write_is_what_caffe_writes(tmp_path: Path, name: str) -> None:
    net = prototxt.read(GOLDEN / "net.prototxt", NetParameter)
    with open_weights(MODEL) as weights:
        write_weights(tmp_path / name, net, {key: [blob.array() for blob in v] for key, v in weights.layers.items()})
    assert contents(tmp_path / name) == contents(MODEL)


def test_slashes_diffs_and_odd_shapes(tmp_path: Path) -> None:
    names = ["inception/1x1", "inception/1x1/bn", "plain"]
    net = NetParameter(layer=[LayerParameter(name=name) for name in [*names, "plain"]])
    blobs = {name: [np.full((2, i), i, np.float32), np.array(i, np.float32)] for i, name in enumerate(names)}
    diffs = {"plain": [np.asarray(blob + 1) for blob in blobs["plain"]]}
    write_weights(tmp_path / "net.h5", net, blobs, diffs)
    with open_weights(tmp_path / "net.h5") as weights:
        assert list(weights.layers) == names
        for name, values in weights.layers.items():
            assert [blob.array().tolist() for blob in values] == [blob.tolist() for blob in blobs[name]]
    assert contents(tmp_path / "net.h5")["diff/plain/1"] == ("<f4", (), 3.0)


def test_a_shared_blob_that_caffe_left_out_keeps_the_others_places(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file["data/ip/2"] = np.arange(3)
        file["data/ip/10"] = np.array([1.0, 2.0])
        file["data/ip/note"] = 7
    with open_weights(tmp_path / "net.h5") as weights:
        blobs = weights.layers["ip"]
        assert [(blob.index, blob.array().tolist()) for blob in blobs] == [(2, [0, 1, 2]), (10, [1, 2])]


def test_a_closed_file_says_so() -> None:
    with open_weights(MODEL) as weights:
        pass
    weights.close()
    with pytest.raises(StateError, match="the file is closed"):
        weights.layers["conv"][0].array()


def test_a_file_cut_anywhere_raises(tmp_path: Path) -> None:
    data = MODEL.read_bytes()
    for stop in range(8, len(data), 97):
        (tmp_path / "net.h5").write_bytes(data[:stop])
        with pytest.raises(ProtoError, match=r"net\.h5: .*HDF5 file .*; download or copy it again"):
            open_weights(tmp_path / "net.h5")


def test_other_hdf5_files_are_told_apart(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "state.h5", "w") as file:
        file["history/0"] = np.zeros(3)
    with pytest.raises(ProtoError, match=r"expected weights in the group /data; found \['history'\]"):
        open_weights(tmp_path / "state.h5")
    with h5py.File(tmp_path / "text.h5", "w") as file:
        file["data/ip/0"] = "weights"
    with (
        open_weights(tmp_path / "text.h5") as weights,
        pytest.raises(ProtoError, match=r"text\.h5: cannot read /data/ip/0"),
    ):
        weights.layers["ip"][0].array()


def test_names_that_hdf5_cannot_hold(tmp_path: Path) -> None:
    net = NetParameter(layer=[LayerParameter(name="a"), LayerParameter(name="a/0")])
    blob = np.zeros(2, np.float32)
    with pytest.raises(ProtoError, match=r"HDF5 cannot hold layer 'a/0'.*write a \.caffemodel instead"):
        write_weights(tmp_path / "net.h5", net, {"a": [blob], "a/0": [blob]})
    assert list(tmp_path.iterdir()) == []
