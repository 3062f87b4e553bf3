"""Damaged and malicious files: an error of caffepy's, in no time, without much memory."""

import contextlib
import io
import os
import random
import shutil
import struct
import zlib

import h5py
import numpy as np
import pytest
from PIL import Image

from caffepy.data import files, hdf5
from caffepy.data.database import open_database
from caffepy.data.hdf5 import Hdf5Source
from caffepy.data.lmdb_reader import LmdbReader
from caffepy.data.pictures import decode, read_picture
from caffepy.data.records import datum_values, parse_datum
from caffepy.data.sources import read_list
from caffepy.data.transform import read_mean
from caffepy.data.windows import read_windows
from caffepy.errors import CaffeError, DataError, MissingFileError
from caffepy.limits import FORMATS
from caffepy.proto.caffe_pb2 import Datum
from tests.golden_data import FOLDER
from tests.nets import make


def damaged(content: bytes, seed: int) -> bytes:
    """The content cut short, or with a few bytes changed, most of them where structure is."""
    chance = random.Random(seed)
    if seed % 4 == 0:
        return content[: chance.randrange(len(content))]
    out = bytearray(content)
    for _ in range(chance.choice([1, 2, 4, 16])):
        page = chance.randrange(max(1, len(out) // 4096)) * 4096
        place = page + chance.randrange(200) if seed % 2 else chance.randrange(len(out))
        out[min(place, len(out) - 1)] = chance.choice([0, 255, chance.randrange(256)])
    return bytes(out)


def survives(call) -> None:
    with contextlib.suppress(CaffeError):
        call()


@pytest.mark.parametrize("name", ["lmdb_raw", "feat_ip", "lmdb_empty"])
def test_damaged_lmdbs(name, tmp_path):
    content = (FOLDER / "db" / name / "data.mdb").read_bytes()
    refused = 0
    for seed in range(300):
        (tmp_path / "data.mdb").write_bytes(damaged(content, seed))

        def read():
            reader = LmdbReader(tmp_path)
            found = list(reader.records())
            assert sum(len(key) + len(value) for key, value in found) < 20 * len(content)

        try:
            read()
        except CaffeError:
            refused += 1
    assert refused > 75  # at least those cut short


def test_an_lmdb_whose_pages_go_round_in_circles(tmp_path):
    """A branch whose children are itself, and one whose children are all the same leaf."""
    content = bytearray((FOLDER / "db/lmdb_raw/data.mdb").read_bytes())
    root = max(
        struct.unpack_from("<Q", content, meta * 4096 + 88 + 40)[0] for meta in (0, 1) if content[meta * 4096 + 144]
    )
    for child, depth in ((root, 30), (root + 1, 30), (root, 2)):
        page = bytearray(4096)
        struct.pack_into("<QHHHH", page, 0, root, 0, 1, 16 + 2 * 200, 4096 - 8 * 200)
        for i in range(200):
            struct.pack_into("<H", page, 16 + 2 * i, 4096 - 8 * (i + 1))
            struct.pack_into("<HHHH", page, 4096 - 8 * (i + 1), child & 0xFFFF, child >> 16, 0, 0)
        bad = bytearray(content)
        bad[root * 4096 : root * 4096 + 4096] = page
        for meta in (0, 1):
            struct.pack_into("<H", bad, meta * 4096 + 88 + 6, depth)
        (tmp_path / "data.mdb").write_bytes(bad)
        with pytest.raises(DataError, match="is damaged"):
            list(LmdbReader(tmp_path).records())


def test_an_lmdb_that_promises_much(tmp_path):
    content = bytearray((FOLDER / "db/lmdb_raw/data.mdb").read_bytes())
    for meta in (0, 1):
        struct.pack_into("<Q", content, meta * 4096 + 88 + 32, 2**60)  # records
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(DataError, match="it holds 8 records and counts"):
        list(LmdbReader(tmp_path).records())


@pytest.mark.parametrize("name", ["leveldb_raw", "leveldb_resized_opened"])
def test_damaged_leveldbs(name, tmp_path):
    pytest.importorskip("plyvel", reason="plyvel, which LevelDB needs, is not installed")
    for seed in range(60):
        where = tmp_path / str(seed)
        shutil.copytree(FOLDER / "db" / name, where)
        file = sorted(where.iterdir())[seed % len(list(where.iterdir()))]
        if content := file.read_bytes():
            file.write_bytes(damaged(content, seed))
        before = {path.name: path.read_bytes() for path in where.iterdir()}

        def read(where=where):
            reader = open_database(where, "LEVELDB")
            try:
                list(reader.records())
            finally:
                reader.close()

        survives(read)
        assert {path.name: path.read_bytes() for path in where.iterdir()} == before


def test_a_leveldb_is_never_written_to(tmp_path):
    """Not through a link either, whatever numbers its tables have; nor does it need write access."""
    pytest.importorskip("plyvel", reason="plyvel, which LevelDB needs, is not installed")
    where = tmp_path / "db"
    shutil.copytree(FOLDER / "db/leveldb_raw", where)
    for number in range(3, 12):
        (where / f"{number:06}.ldb").write_bytes(b"not a table")
    before = {path.name: path.read_bytes() for path in where.iterdir()}
    where.chmod(0o555)
    try:
        first, second = open_database(where, "LEVELDB"), open_database(where, "LEVELDB")
        assert list(first.records()) == list(second.records()) != []
        copies = [reader._copy for reader in (first, second)]
        first.close()
        del second
        assert not any(os.path.exists(copy) for copy in copies)
    finally:
        where.chmod(0o755)
    assert {path.name: path.read_bytes() for path in where.iterdir()} == before


def test_an_lmdb_needs_no_write_access(tmp_path):
    shutil.copytree(FOLDER / "db/lmdb_raw", tmp_path / "db")
    (tmp_path / "db" / "data.mdb").chmod(0o444)
    (tmp_path / "db").chmod(0o555)
    try:
        assert len(list(open_database(tmp_path / "db", "lmdb").records())) == 8
        assert os.listdir(tmp_path / "db") == ["data.mdb"]
    finally:
        (tmp_path / "db").chmod(0o755)


@pytest.mark.filterwarnings("ignore:Truncated File Read")  # what Pillow says of damaged Exif
@pytest.mark.parametrize("name", sorted(path.name for path in (FOLDER / "images").rglob("*.*")))
def test_damaged_pictures(name):
    (path,) = (FOLDER / "images").rglob(name)
    content = path.read_bytes()
    for seed in range(40):
        for color in (True, False, None):
            survives(lambda seed=seed, color=color: decode(damaged(content, seed), color, "it"))


def png(width, height, data=b""):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height"), [(10_000, 9_000), (20_000, 20_000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1)]
)
def test_pictures_with_too_many_pixels(width, height):
    with pytest.raises(DataError, match="at most 89478485 pixels"):
        decode(png(width, height), True, "it")


def test_only_some_formats_are_decoded():
    pixels = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    for kind in ("PCX", "TGA", "ICO", "SGI", "EPS", "PDF"):
        out = io.BytesIO()
        pixels.save(out, kind)
        with pytest.raises(DataError, match="no PNG, JPEG, BMP, GIF, PNM, TIFF or WebP"):
            decode(out.getvalue(), True, "it")
    for kind in FORMATS:
        out = io.BytesIO()
        pixels.save(out, kind)
        assert decode(out.getvalue(), True, "it").shape == (4, 4, 3)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        for call in (files.read_file, read_list, read_mean, lambda path: read_picture(path, True)):
            with pytest.raises((DataError, MissingFileError)):
                call(path)
    for path in ("a\0b", "", "x" * 5000):
        with pytest.raises(MissingFileError, match="cannot be opened"):
            files.open_file(path)
    (tmp_path / "db").mkdir()
    os.mkfifo(tmp_path / "db" / "data.mdb")
    with pytest.raises(DataError, match="is no regular file"):
        LmdbReader(tmp_path / "db")
    with pytest.raises(MissingFileError, match="it is a file, not a folder"):
        LmdbReader(FOLDER / "db/lmdb_raw/data.mdb")


def test_files_above_the_limit_are_not_read(tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 100)
    assert files.read_file(tmp_path / "big", 100)
    with pytest.raises(DataError, match="has 100 bytes; more than 99 are not read"):
        files.read_file(tmp_path / "big", 99)


def test_datums_that_promise_much():
    for datum in (
        Datum(channels=2**31 - 1, height=2**31 - 1, width=2**31 - 1, data=b"x"),
        Datum(channels=-1, height=-1, width=3, data=b"xxx"),
        Datum(channels=3, height=2, width=2),
        Datum(encoded=True),
        Datum(encoded=True, data=png(20_000, 20_000)),
    ):
        with pytest.raises(DataError, match=r"^it"):
            datum_values(datum, "it")
    with pytest.raises(DataError, match="it is no Datum: its 3 bytes"):
        parse_datum(b"\x22\xff\x01", "it")
    longer = Datum(channels=1, height=1, width=2, float_data=[1, 2, 3])
    assert datum_values(longer, "it").tolist() == [[[1, 2]]]


def test_lists_of_anything(tmp_path):
    (tmp_path / "list").write_bytes(b"\xff\xfe\x00 1\nno label\n  \na b c 7x\n" + b"n" * 100)
    names = read_list(tmp_path / "list")
    assert [label for _, label in names] == [1, 0, 0, 7, 0]
    assert os.fsencode(names[0][0]) == b"\xff\xfe\x00"
    assert [name for name, _ in names[1:4]] == ["no", " ", "a b c"]
    (tmp_path / "list").write_bytes(b"a 99999999999")
    with pytest.raises(DataError, match="line 1: label 99999999999 has more than 32 bits"):
        read_list(tmp_path / "list")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x 0", "picture 0: expected '#', got 'x'"),
        ("# 5 a.png 3 1 1 0", "picture 0: its index is 5; number the pictures from 0"),
        ("# 0 a.png 1 1 1 0", "picture 0 has 1 channels"),
        ("# 0 a.png 3 1 1 2 1 0.5 0 0 1 1", "picture 0 is cut short or no number"),
        ("# 0 a.png 3 1 1 99999999999", "cut short"),
        ("# 0 a.png 3 1 1 1 1 nan 0 0 1 one", "cut short or no number"),
        ("# 0", "cut short"),
        ("# 0 a.png 3", "cut short"),
        ("# 0 a.png 3 1 1 1 1 0.5 0", "cut short"),
        ("\n \n", "is empty"),
    ],
)
def test_window_files_of_another_form(text, message, tmp_path):
    (tmp_path / "windows").write_text(text)
    with pytest.raises(DataError, match=message):
        read_windows(tmp_path / "windows", 0.5, 0.5)


def hdf5_list(tmp_path, **sets):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in sets.items():
            if isinstance(values, dict):
                file.create_dataset(name, **values)
            else:
                file[name] = values
    (tmp_path / "list").write_text(f"{tmp_path}/a.h5")
    return tmp_path / "list"


def test_hdf5_of_other_files_and_of_no_rows(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(400))
    with h5py.File(tmp_path / "b.h5", "w") as other:
        other["x"] = np.zeros((4, 3), np.float32)
    layout = h5py.VirtualLayout((4, 3), np.float32)
    layout[:] = h5py.VirtualSource(str(tmp_path / "b.h5"), "x", (4, 3))
    listed = hdf5_list(
        tmp_path,
        linked=h5py.ExternalLink(str(tmp_path / "b.h5"), "x"),
        outside={"shape": (10, 10), "dtype": "f4", "external": [(str(tmp_path / "secret"), 0, 400)]},
        dangling=h5py.SoftLink("/nosuch"),
        none={"shape": (0, 3), "dtype": "f4"},
        scalar={"shape": (), "dtype": "f4"},
        empty={"shape": (4, 0), "dtype": "f4"},
        complex={"shape": (4,), "dtype": "c8"},
        flags={"shape": (4,), "dtype": "?"},
        huge={"shape": (2, 2**40), "dtype": "f4", "chunks": (1, 1024), "compression": "gzip"},
    )
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.create_virtual_dataset("virtual", layout)
        file.create_group("group")
    names = "linked outside dangling none scalar empty complex flags huge virtual group"
    for name in names.split():
        with pytest.raises(DataError, match=f"data set '{name}'"):
            Hdf5Source(listed, [name])


def test_hdf5_that_does_not_fit_into_memory_is_read_row_by_row(tmp_path, monkeypatch):
    values = np.random.RandomState(0).standard_normal((7, 3)).astype(np.float32)
    listed = hdf5_list(tmp_path, x=values)
    monkeypatch.setattr(hdf5, "LOAD_LIMIT", 10)
    for shuffle in (False, True):
        source = Hdf5Source(listed, ["x"], shuffle=shuffle)
        rows = np.concatenate([source.read(5)[0], source.read(2)[0]])
        assert sorted(rows[:, 0].tolist()) == sorted(values[:, 0].tolist())
        assert (rows == values).all() != shuffle


def test_damaged_hdf5(tmp_path):
    content = (FOLDER / "h5/a0.h5").read_bytes()
    (tmp_path / "list").write_text(f"{tmp_path}/a.h5")
    for seed in range(200):
        (tmp_path / "a.h5").write_bytes(damaged(content, seed))
        survives(lambda: Hdf5Source(tmp_path / "list", ["data", "label", "packed"]).read(11))


def test_damaged_means(tmp_path):
    content = (FOLDER / "mean_raw.binaryproto").read_bytes()
    for seed in range(100):
        (tmp_path / "mean").write_bytes(damaged(content, seed))
        survives(lambda: read_mean(tmp_path / "mean"))
    (tmp_path / "mean").write_bytes(b"\x08\x02\x10\x01\x18\x01\x20\x01\x2a\x08" + bytes(8))
    with pytest.raises(DataError, match="a mean is channels x height x width"):
        read_mean(tmp_path / "mean")


def test_a_batch_size_that_no_memory_holds(monkeypatch):
    monkeypatch.chdir(FOLDER)
    text = (
        'layer { name: "d" type: "Data" top: "data" top: "label" '
        'data_param { source: "db/lmdb_raw" batch_size: 4000000000 backend: LMDB } }'
    )
    with pytest.raises(DataError, match=r"layer 'd' \(Data\): a batch of 4000000000 items of \(3, 28, 36\) has"):
        make(text)
