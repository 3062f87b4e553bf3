"""HDF5 weights: a file of real Caffe, our own, and damaged ones."""

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from caffepy.errors import ProtoError, StateError
from caffepy.limits import Limits, applied
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
        pytest.raises(ProtoError, match=r"text\.h5: /data/ip/0 holds object, not numbers"),
    ):
        weights.layers["ip"][0].array()


def test_names_that_hdf5_cannot_hold(tmp_path: Path) -> None:
    net = NetParameter(layer=[LayerParameter(name="a"), LayerParameter(name="a/0")])
    blob = np.zeros(2, np.float32)
    with pytest.raises(ProtoError, match=r"HDF5 cannot hold layer 'a/0'.*write a \.caffemodel instead"):
        write_weights(tmp_path / "net.h5", net, {"a": [blob], "a/0": [blob]})
    assert list(tmp_path.iterdir()) == []


# ---- files of whoever's making


def with_sets(path: Path, **settings: object) -> h5py.File:
    """A file with the weights `data/a/0`, and whatever the caller adds."""
    file = h5py.File(path, "w")
    file.create_dataset("data/a/0", data=np.arange(8, dtype="f4"), **settings)
    return file


@pytest.mark.parametrize(
    ("link", "named"),
    [
        (h5py.SoftLink("/data/a/0"), "link"),
        (h5py.SoftLink("/nosuch"), "link"),
        (h5py.ExternalLink("other.h5", "/data/a/0"), "link"),
    ],
)
@pytest.mark.parametrize("place", ["data/a/1", "data/b", "data/b/0"])
def test_links_by_name_are_not_followed(tmp_path: Path, link: object, named: str, place: str) -> None:
    with_sets(tmp_path / "other.h5").close()
    with with_sets(tmp_path / "net.h5") as file:
        file[place] = link
    with pytest.raises(ProtoError, match=rf"net\.h5: /{place} is a {named}.*not followed"):
        open_weights(tmp_path / "net.h5")


def test_values_that_stand_in_another_file_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(32))
    with with_sets(tmp_path / "net.h5") as file:
        file.create_dataset("data/b/0", (8,), "f4", external=[(str(tmp_path / "secret"), 0, 32)])
        layout = h5py.VirtualLayout((8,), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "data/a/0", (8,))
        file["data"].create_group("c").create_virtual_dataset("0", layout)
    with_sets(tmp_path / "other.h5").close()
    with open_weights(tmp_path / "net.h5") as weights:
        assert weights.layers["a"][0].array().tolist() == list(range(8))
        for name in "bc":
            with pytest.raises(ProtoError, match=rf"/data/{name}/0 stands in another file"):
                weights.layers[name][0].array()


def test_a_group_has_one_name(tmp_path: Path) -> None:
    with with_sets(tmp_path / "net.h5") as file:
        group = file["data"]
        for _ in range(30):  # 2^30 ways down
            below = group.create_group("l")
            group["r"] = below
            group = below
    with pytest.raises(ProtoError, match="has several names"):
        open_weights(tmp_path / "net.h5")


def test_a_group_may_not_be_inside_itself(tmp_path: Path) -> None:
    with with_sets(tmp_path / "net.h5") as file:
        file["data/a/round"] = file["data"]
    with pytest.raises(ProtoError, match="has several names"):
        open_weights(tmp_path / "net.h5")


PACKED = [{"compression": "gzip"}, {"compression": "gzip", "shuffle": True, "fletcher32": True}, {"compression": "lzf"}]
PACKED += [{"chunks": (3,)}, {"chunks": (3,), "fletcher32": True}, {"compression": "lzf", "fletcher32": True}]


@pytest.mark.parametrize("settings", PACKED)
@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_what_is_packed_is_read(tmp_path: Path, settings: dict[str, object], version: str) -> None:
    values = np.random.RandomState(0).standard_normal((5, 7, 3)).astype(np.float32)
    with h5py.File(tmp_path / "net.h5", "w", libver=version) as file:
        file.create_dataset("data/a/0", data=values, **{**settings, **({"chunks": (2, 3, 3)} if settings else {})})
    with open_weights(tmp_path / "net.h5") as weights:
        assert np.array_equal(weights.layers["a"][0].array(), values)


@pytest.mark.parametrize("settings", [{"fletcher32": True, "chunks": (8,)}, {"compression": "gzip"}, {"chunks": (8,)}])
def test_a_chunk_of_no_bytes_kills_nobody(tmp_path: Path, settings: dict[str, object]) -> None:
    with with_sets(tmp_path / "net.h5", **settings) as file:
        size = file["data/a/0"].id.get_chunk_info(0).size
    content = (tmp_path / "net.h5").read_bytes()
    for place in range(len(content) - 8):
        if content[place : place + 4] == size.to_bytes(4, "little") and content[place + 4 : place + 8] == bytes(4):
            (tmp_path / "net.h5").write_bytes(content[:place] + bytes(4) + content[place + 4 :])
            try:
                with open_weights(tmp_path / "net.h5") as weights:
                    weights.layers["a"][0].array()
            except (ProtoError, KeyError):
                continue
            assert content[place + 8 : place + 16] != bytes(8), "the chunk's own size was not looked at"


def test_a_chunk_that_would_inflate_is_not_inflated(tmp_path: Path) -> None:
    with with_sets(tmp_path / "net.h5", compression="gzip") as file:
        file["data/a/0"].id.write_direct_chunk((0,), zlib.compress(bytes(10**6)))
        small = file.create_dataset("data/b/0", data=np.arange(10**5, dtype="f4"), compression="gzip", chunks=(10**5,))
        small.id.write_direct_chunk((0,), zlib.compress(bytes(10**8)))
    with open_weights(tmp_path / "net.h5") as weights:
        for name in "ab":
            with pytest.raises(ProtoError, match=r"has a chunk .*(that does not unpack to|which cannot be)"):
                weights.layers[name][0].array()


def test_sizes_are_looked_at_before_memory_is_taken(tmp_path: Path) -> None:
    with with_sets(tmp_path / "net.h5") as file:
        file.create_dataset("data/huge/0", (2**40,), "f4", chunks=(1024,))
        file.create_dataset("data/chunk/0", (4,), "f4", chunks=(2**29,), maxshape=(None,))
        file.create_dataset("data/unwritten/0", (2**20,), "f4")
        file.create_dataset("data/some/0", (2**20,), "f4", chunks=(1024,))[:1024] = 1
        file["data/text/0"] = "abc"
        file["data/complex/0"] = np.zeros(3, "c8")
        file["data/record/0"] = np.zeros(3, [("a", "f4"), ("b", "f4")])
    with applied(Limits(memory=10**8)), open_weights(tmp_path / "net.h5") as weights:
        assert weights.layers["a"][0].array().tolist() == list(range(8))
        for name, message in {
            "huge": "needs .* of memory",
            "chunk": "one of which needs .* of memory",
            "unwritten": "is not stored whole",
            "some": "has 1 of its 1024 chunks",
            "text": "not numbers",
            "complex": "not numbers",
            "record": "not numbers",
        }.items():
            with pytest.raises(ProtoError, match=message):
                weights.layers[name][0].array()


def test_filters_that_would_be_loaded_as_plug_ins_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.create_dataset("data/a/0", data=np.arange(8, dtype="f4"), scaleoffset=2)
    with open_weights(tmp_path / "net.h5") as weights, pytest.raises(ProtoError, match=r"packed by filters \[6\]"):
        weights.layers["a"][0].array()


def test_names_that_are_no_text(tmp_path: Path) -> None:
    with with_sets(tmp_path / "net.h5") as file:
        h5py.h5g.create(file["data"].id, b"\xff\xfe")
    with pytest.raises(ProtoError, match="the name is no UTF-8"):
        open_weights(tmp_path / "net.h5")


@pytest.mark.parametrize("name", ["/abs", "a//b", "a/", "a/./b", ".", "a\0b", ""])
def test_names_that_would_be_read_as_others_are_not_written(tmp_path: Path, name: str) -> None:
    net = NetParameter(layer=[LayerParameter(name=name)])
    with pytest.raises(ProtoError, match="HDF5 cannot hold layer"):
        write_weights(tmp_path / "net.h5", net, [[np.zeros(2, np.float32)]])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["inception/1x1", "0", "a b", "ü", "..", "a/../b", "name\x1b[2J"])
def test_other_names_come_back_as_they_are(tmp_path: Path, name: str) -> None:
    net = NetParameter(layer=[LayerParameter(name=name)])
    write_weights(tmp_path / "net.h5", net, [[np.arange(2, dtype=np.float32)]])
    with open_weights(tmp_path / "net.h5") as weights:
        assert list(weights.layers) == [name]
