"""The database tools against real Caffe's: the same keys, the same records, the same means, byte for byte."""

import io
import shutil
from pathlib import Path

import click
import h5py
import numpy as np
import pytest
from PIL import Image

import caffepy as caffe
from caffepy.cli import caffe_tools
from caffepy.cli import main as caffepy_main
from caffepy.cli.tools.features import extract_to_databases
from caffepy.cli.tools.resize_and_crop import square
from caffepy.data.database import open_database
from caffepy.data.encode import encode
from caffepy.data.mean import compute_image_mean
from caffepy.data.pictures import decode
from caffepy.data.writer import DatabaseWriter
from caffepy.errors import ArgumentError, DataError, MissingFileError, StateError
from caffepy.proto.caffe_pb2 import Datum
from tests.golden_data import FOLDER, edges, made_by, needs_leveldb
from tests.nets import make

lmdb = pytest.importorskip("lmdb", reason="lmdb, which writing an LMDB needs, is not installed")

CONVERTED = {path: line for path, line in made_by()["made_by"].items() if line.startswith("convert_imageset")}
MEANS = {path: line for path, line in made_by()["made_by"].items() if line.startswith("compute_image_mean")}
COMMANDS = [edge for edge in edges() if "command" in edge]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the golden inputs as working directory."""
    for name in ("images", "lists", "db"):
        shutil.copytree(FOLDER / name, tmp_path / name)
    for name in ("feat.prototxt", "feat.caffemodel"):
        shutil.copy(FOLDER / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str) -> None:
    """One of Caffe's programs, as typed."""
    program, *arguments = line.split()
    try:
        getattr(caffe_tools, program)(arguments)
    except SystemExit as end:
        if end.code:
            raise


def records(path, backend="LMDB"):
    database = open_database(path, backend)
    try:
        return list(database.records())
    finally:
        database.close()


@pytest.mark.parametrize("path", CONVERTED)
def test_databases_are_caffes(path, folder):
    needs_leveldb(CONVERTED[path])
    backend = "LEVELDB" if "leveldb" in CONVERTED[path] else "LMDB"
    shutil.rmtree(path)
    run(CONVERTED[path])
    assert records(path, backend) == records(FOLDER / path, backend)


@pytest.mark.parametrize("path", MEANS)
def test_means_are_caffes(path, folder, capsys):
    run(MEANS[path])
    assert Path(path).read_bytes() == (FOLDER / path).read_bytes()
    printed = [line.rpartition(" ")[2] for line in capsys.readouterr().out.splitlines() if "channel [" in line]
    assert printed == made_by()["printed_channel_means"][path]


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_features_are_caffes(backend, folder, capsys):
    needs_leveldb(backend)
    batches = 3 if backend == "lmdb" else 2
    run(f"extract_features feat.caffemodel feat.prototxt conv,ip db/a,db/b {batches} {backend}")
    expected = {"db/a": "feat_conv", "db/b": "feat_ip"}
    for made, golden in expected.items():
        found, want = records(made, backend), records(FOLDER / "db" / golden)[: 3 * batches]
        assert [key for key, _ in found] == [key for key, _ in want]
        for (_, ours), (_, caffes) in zip(found, want, strict=True):
            ours, caffes = Datum.FromString(ours), Datum.FromString(caffes)
            np.testing.assert_allclose(ours.float_data, caffes.float_data, rtol=1e-5, atol=1e-6)
            assert len(ours.SerializeToString()) == len(caffes.SerializeToString())
            for name in ("channels", "height", "width"):
                assert getattr(ours, name) == getattr(caffes, name)
            assert [field.name for field, _ in ours.ListFields()] == [field.name for field, _ in caffes.ListFields()]
    assert f"{3 * batches} records of conv" in capsys.readouterr().out


@pytest.mark.parametrize("edge", [pytest.param(edge, id=edge["kind"] + "-" + edge["name"]) for edge in COMMANDS])
def test_commands_that_caffe_refuses_or_takes(edge, folder, capsys):
    needs_leveldb(edge["command"])
    if edge["name"] == "output_exists_leveldb":
        Path("db/tmp_ldb").mkdir()
    before = set(Path().rglob("*"))
    if edge["result"] == "ok":
        run(edge["command"])
        return
    with pytest.raises(SystemExit):
        run(edge["command"])
    assert capsys.readouterr().err.startswith("Error: ")
    assert set(Path().rglob("*")) == before


def test_flags_in_every_spelling_of_gflags(folder, capsys):
    run("convert_imageset -gray -backend lmdb --resize_height=14 -resize_width 18 --noshuffle images/ lists/same.txt a")
    run("convert_imageset --gray=true -resize_width=18 images/ lists/same.txt b --resize_height 14 -logtostderr=1 -v 2")
    assert records("a") == records("b")
    assert Datum.FromString(records("a")[0][1]).height == 14
    run("convert_imageset --gray=false images/ lists/same.txt c")
    assert records("c") == records(FOLDER / "db/lmdb_raw")
    for line, message in (
        ("convert_imageset -grey images/ lists/same.txt d", "convert_imageset has no flag '-grey'; there are -backend"),
        ("convert_imageset --gray=maybe images/ lists/same.txt d", "flag '--gray=maybe' is true or false"),
        ("compute_image_mean db/lmdb_raw -backend", "flag '-backend' needs a value"),
        ("extract_features a b c d 1 lmdb GPU 0x", "the GPU is given as DEVICE_ID=0, say; got '0x'"),
    ):
        with pytest.raises(SystemExit):
            run(line)
        assert message in capsys.readouterr().err


def test_shuffled_lines_are_numbered_in_their_new_order(folder):
    arguments = ["convert-imageset", "--shuffle", "images/", "lists/same.txt"]
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        caffepy_main.main([*arguments, name, "--seed", seed], standalone_mode=False)
    order = {name: [key.decode() for key, _ in records(name)] for name in "abc"}
    assert order["a"] == order["b"] != order["c"]
    assert [key[:9] for key in order["a"]] == [f"{i:08}_" for i in range(8)]
    plain = [key.decode()[9:] for key, _ in records(FOLDER / "db/lmdb_raw")]
    assert sorted(key[9:] for key in order["a"]) == sorted(plain)


def test_a_writer_leaves_a_whole_database_or_nothing(tmp_path):
    with pytest.raises(TypeError), DatabaseWriter(tmp_path / "a", "LMDB") as database:
        database.put(b"k")
    assert list(tmp_path.iterdir()) == []
    with DatabaseWriter(tmp_path / "a", "lmdb") as database:
        for i in range(3000):  # more than a transaction, and more than the map that it starts with
            database.put(f"{i:06}".encode(), bytes([i % 251]) * 10_000)
        assert not (tmp_path / "a").exists()
    found = records(tmp_path / "a")
    assert len(found) == 3000
    assert all(value == bytes([i % 251]) * 10_000 for i, (_, value) in enumerate(found))
    with pytest.raises(StateError, match="is there already"):
        DatabaseWriter(tmp_path / "a", "lmdb")
    with pytest.raises(MissingFileError, match="cannot be made"):
        DatabaseWriter(tmp_path / "nosuch" / "a", "lmdb")
    with pytest.raises(ArgumentError, match="unknown database backend 'sqlite'"):
        DatabaseWriter(tmp_path / "b", "sqlite")
    with pytest.raises(DataError, match="cannot be written"), DatabaseWriter(tmp_path / "b", "lmdb") as database:
        database.put(b"k" * 600, b"")  # LMDB's keys have at most 511 bytes
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_script_reads_our_database_with_lmdb(tmp_path):
    with DatabaseWriter(tmp_path / "a", "lmdb") as database:
        database.put(
            b"0", caffe.io.array_to_datum(np.arange(12, dtype=np.uint8).reshape(3, 2, 2), 7).SerializeToString()
        )
    with lmdb.open(str(tmp_path / "a"), readonly=True) as environment, environment.begin() as transaction:
        net = make(
            'layer { name: "d" type: "Data" top: "data" top: "label" '
            f'data_param {{ source: "{tmp_path / "a"}" batch_size: 1 backend: LMDB }} }}'
        )
        net.forward()  # while the script has it open
        datum = caffe.proto.caffe_pb2.Datum.FromString(transaction.get(b"0"))
    np.testing.assert_array_equal(caffe.io.datum_to_array(datum)[None], net.blobs["data"].data)
    assert net.blobs["label"].data[0] == datum.label == 7


def test_encoders_give_pictures_back():
    picture = np.random.RandomState(0).randint(0, 256, (37, 211, 3)).astype(np.uint8)
    for encoding in ("png", "PNG", "bmp", "tiff", "ppm"):
        np.testing.assert_array_equal(decode(encode(picture, encoding), True, "it"), picture)
        np.testing.assert_array_equal(decode(encode(picture[..., 0], encoding), None, "it"), picture[..., 0])
    big = np.zeros((300, 400, 3), np.uint8)
    assert Image.open(io.BytesIO(encode(big, "png"))).size == (400, 300)
    with pytest.raises(ArgumentError, match="no encoder for pictures of type 'gif'"):
        encode(picture, "gif")


def test_mean_of_floats_and_of_one_record(tmp_path):
    rows = np.random.RandomState(0).standard_normal((130, 2, 3, 4)).astype(np.float32)
    with DatabaseWriter(tmp_path / "a", "lmdb") as database:
        for i, row in enumerate(rows):
            database.put(f"{i:04}".encode(), caffe.io.array_to_datum(row).SerializeToString())
    mean = compute_image_mean(tmp_path / "a")
    np.testing.assert_allclose(mean.values, rows.astype(np.float64).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(mean.channels, rows.astype(np.float64).mean(axis=(0, 2, 3)), atol=1e-6)
    assert mean.count == 130


def test_features_of_bare_scores_and_of_too_many_axes(folder):
    net = make(
        'layer { name: "d" type: "DummyData" top: "flat" top: "deep" top: "one" dummy_data_param { shape { dim: 2 } '
        "shape { dim: 1 dim: 1 dim: 1 dim: 1 dim: 2 } shape { } } }"
    )
    assert extract_to_databases(net, ["flat"], ["a"], 2, "lmdb") == {"flat": 4}
    datum = Datum.FromString(records("a")[3][1])
    assert (datum.channels, datum.height, datum.width, list(datum.float_data)) == (1, 1, 1, [0])
    for blob in ("deep", "one"):
        with pytest.raises(ArgumentError, match="records are written of 1 to 4 axes"):
            extract_to_databases(net, [blob], ["b"], 1, "lmdb")


def test_resize_and_crop(tmp_path, capsys):
    cv2 = pytest.importorskip("cv2", reason="OpenCV, whose numbers these are, is not installed")
    source = np.random.RandomState(0).randint(0, 256, (61, 40, 3)).astype(np.uint8)
    for picture in (source, source.swapaxes(0, 1)):
        height, width = picture.shape[:2]
        size = (24, 24 * height // width) if height > width else (24 * width // height, 24)
        resized = cv2.resize(np.ascontiguousarray(picture), size)
        top, left = (size[1] - 24) // 2, (size[0] - 24) // 2
        np.testing.assert_array_equal(square(picture, 24), resized[top : top + 24, left : left + 24])
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.fromarray(source[..., ::-1]).save(tmp_path / "in" / "deep" / "a.png")
    (tmp_path / "in" / "b.jpg").write_text("no picture")
    caffepy_main.main(
        [
            *("resize-and-crop", "--input-folder", str(tmp_path / "in"), "--output_folder", str(tmp_path / "out")),
            "--output-side-length=24",
        ],
        standalone_mode=False,
    )
    np.testing.assert_array_equal(decode((tmp_path / "out/deep/a.png").read_bytes(), True, "it"), square(source, 24))
    printed = capsys.readouterr()
    assert "1 pictures, 1 left out" in printed.out
    assert "left out  b.jpg:" in printed.err


def test_hdf5_output_is_caffes(folder):
    for name, golden in (("ip", "written_by_caffe"), ("conv", "written_by_caffe_4d")):
        text = (folder / "feat.prototxt").read_text() + (
            f'layer {{ name: "out" type: "HDF5Output" bottom: "{name}" bottom: "label" '
            f'hdf5_output_param {{ file_name: "{name}.h5" }} }}'
        )
        net = make(text, weights="feat.caffemodel")
        assert not Path(f"{name}.h5").exists()
        net.forward()
        with h5py.File(f"{name}.h5") as ours, h5py.File(FOLDER / "h5" / f"{golden}.h5") as caffes:
            assert sorted(ours) == sorted(caffes) == ["data", "label"]
            for key in ours:
                assert ours[key].dtype == caffes[key].dtype
                np.testing.assert_allclose(ours[key][...], caffes[key][...], rtol=1e-5, atol=1e-6)


def test_click_sees_no_unknown_option() -> None:
    with pytest.raises(click.UsageError):
        caffepy_main.main(["convert-imageset", "--grey", "a", "b", "c"], standalone_mode=False)
