"""One target a reader: an input's bytes are read as that kind of file, and all that was promised is asked for."""

import io
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

import caffepy as caffe
from caffepy.data.lmdb_reader import LmdbReader
from caffepy.data.pictures import decode
from caffepy.data.records import datum_values, parse_datum
from caffepy.data.sources import read_list
from caffepy.data.transform import read_mean as training_mean
from caffepy.data.windows import read_windows
from caffepy.interop.safetensors import open_safetensors, save_safetensors
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import BlobProto, Datum, NetParameter, SolverParameter, SolverState
from caffepy.proto.caffemodel import open_weights
from caffepy.proto.stored import Weights
from caffepy.proto.upgrade import upgrade_net
from caffepy.saliency.labels import read_labels
from caffepy.saliency.preprocess import read_mean
from caffepy.solver import snapshot
from tests.fuzz import nets

MOST_VALUES = 1 << 20
"""Of a blob that is read whole."""
GOLDEN = Path(__file__).parents[1] / "golden"


@cache
def folder() -> Path:
    """Where inputs lie that are read by their names: in memory, if possible."""
    shm = "/dev/shm"
    return Path(tempfile.mkdtemp(prefix="caffepy-fuzz-", dir=shm if os.path.isdir(shm) else None))


def by_name(name: str, read: Callable[[str], object]) -> Callable[[bytes], object]:
    """A reader of files as one of bytes."""

    def run(data: bytes) -> None:
        path = folder() / f"{os.getpid()}-{name}"
        path.write_bytes(data)
        read(os.fspath(path))

    return run


def whole(stored: Weights) -> None:
    """Read every blob."""
    with stored:
        for _, blobs in stored.each:
            for blob in blobs:
                if blob.count <= MOST_VALUES:
                    blob.array()


@cache
def small_net() -> caffe.Net:
    """A net that weights are copied into."""
    return caffe.Net(nets.seeds_of("Convolution", "InnerProduct"), caffe.TEST)


def weights(path: str) -> None:
    """A .caffemodel or its HDF5 twin, by content."""
    whole(open_weights(path))
    small_net().copy_from(path)


def definition(path: str) -> None:
    """A net's text, upgraded and written."""
    net = prototxt.read(path, NetParameter)
    upgrade_net(net)
    prototxt.format(net)


def datum(data: bytes) -> None:
    """A Datum: as a record of a database, and as pycaffe's own function reads it."""
    message = parse_datum(data, "it")
    try:
        datum_values(message, "it")
    finally:
        caffe.io.datum_to_array(message)


def mean(path: str) -> None:
    """A mean picture, for training and for saliency."""
    try:
        training_mean(path)
    finally:
        read_mean(path, (3, 4, 4))


def lmdb(data: bytes) -> None:
    """A database's one file."""
    where = folder() / f"{os.getpid()}-lmdb"
    where.mkdir(exist_ok=True)
    (where / "data.mdb").write_bytes(data)
    for place, _ in enumerate(LmdbReader(where).records()):
        if place > 1000:
            break


def lists(path: str) -> None:
    """A list of pictures, labels, and windows."""
    read_labels(path)
    try:
        read_list(path)
    finally:
        read_windows(path, 0.5, 0.5)


# ---- small inputs that are whole


def _saved(save: Callable[[str], object], ending: str) -> bytes:
    path = folder() / f"{os.getpid()}-seed{ending}"
    save(os.fspath(path))
    return path.read_bytes()


def _definitions() -> list[bytes]:
    old = (
        'input: "d" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4 '
        'layers { bottom: "d" top: "p" layer { name: "p" type: "padding" pad: 2 } }\n'
        'layers { bottom: "p" top: "c" layer { name: "c" type: "conv" num_output: 4 kernelsize: 3 stride: 1 group: 1 '
        'weight_filler { type: "gaussian" std: 0.1 } } }',
        'layers { name: "c" type: CONVOLUTION bottom: "d" top: "c" blobs_lr: 1 weight_decay: 0 '
        "convolution_param { num_output: 4 kernel_size: 3 } } # V1\n",
        "name: 'a\\x1b\\n' \"b\" state { phase: TEST stage: 'x' } layer { loss_weight: [1, -2e3] }",
    )
    return [text.encode() for text in old] + [prototxt.format(net).encode() for net in nets.seeds()[::10]]


def _caffemodels() -> list[bytes]:
    blob = BlobProto(num=1, channels=2, height=1, width=1, data=[1, 2])
    old = NetParameter(name="V1")
    old.layers.add(name="ip", type=14, bottom=["d"], top=["t"], blobs=[blob])
    oldest = NetParameter()
    oldest.layers.add(bottom=["d"], top=["t"]).layer.MergeFrom(
        type(oldest.layers.add().layer)(name="ip", type="innerproduct", num_output=1, blobs=[blob])
    )
    return [_saved(small_net().save, ".caffemodel"), old.SerializeToString(), oldest.SerializeToString()]


def _hdf5() -> list[bytes]:
    def odd(path: str) -> None:
        with h5py.File(path, "w", libver="latest") as file:
            values = np.arange(64, dtype=np.float64).reshape(8, 8)
            for i, how in enumerate(({}, {"chunks": (4, 4)}, {"compression": "gzip"}, {"fletcher32": True})):
                file.create_dataset(f"data/a/{i}", data=values, **how)

    return [_saved(small_net().save, ".caffemodel.h5"), _saved(odd, ".h5")]


def _pictures() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 255, (7, 5, 3)).astype(np.uint8)
    found = []
    for kind in ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "PCX", "ICO", "TGA", "DDS"):
        for mode in ("RGB", "L", "P", "1") if kind in ("PNG", "TIFF", "BMP") else ("RGB",):
            out = io.BytesIO()
            Image.fromarray(pixels).convert(mode).save(out, kind)
            found.append(out.getvalue())
    return found


def _datums() -> list[bytes]:
    return [
        Datum(channels=1, height=2, width=2, data=b"abcd", label=3).SerializeToString(),
        Datum(channels=1, height=1, width=3, float_data=[1, 2, 3]).SerializeToString(),
        Datum(encoded=True, data=_pictures()[0]).SerializeToString(),
    ]


def _states() -> list[bytes]:
    state = SolverState(iter=3, learned_net="x.caffemodel", current_step=1)
    state.history.add(data=[1, 2]).shape.dim.extend([1, 2])
    golden = GOLDEN / "solvers/h5_sgd_iter_3.solverstate.h5"
    return [state.SerializeToString(), golden.read_bytes()]


def _means() -> list[bytes]:
    return [BlobProto(num=1, channels=3, height=2, width=2, data=[1.0] * 12).SerializeToString()]


def _arrays() -> list[bytes]:
    arrays = (
        np.ones((3, 4, 4), np.float32),
        np.ones(3),
        np.ones((1, 3, 2, 2), np.uint8),
        np.asfortranarray(np.ones((3, 2))),
    )
    return [_saved(lambda path, array=array: np.save(path, array), ".npy") for array in arrays]


def _databases() -> list[bytes]:
    return [(GOLDEN / "data/db" / name / "data.mdb").read_bytes() for name in ("lmdb_raw", "lmdb_empty")]


def _lists() -> list[bytes]:
    return [
        b"a.png 1\nb c.png 2\n",
        b"# 0\na.png\n3\n10\n12\n1\n1 0.7 1 1 5 5\n",
        b"n01440764 tench\nn2 goldfish, carp\n",
    ]


_WORDS = (
    b'layer { }|layers {|type: "|name: "|bottom: "d"|top: "t"|: -1|: 1e400|: nan|\\"|\\x|\\777|[|]|#|<|>|;|:|'
    b"'|\n|input_dim: 0"
)
_WIRE = b"\x08\x01|\x0a\x05|\x12\xff\xff\xff\x0f|\xa2\x06|\x3a|\x2a|\x0b|\x0c|\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"
_HDF5 = b"\x89HDF\r\n\x1a\n|TREE|HEAP|SNOD|OHDR|OCHK|FRHP|BTHD|FADB|\xff\xff\xff\xff\xff\xff\xff\xff|\x10\x00\x00\x00"
_NPY = b"\x93NUMPY|'descr': |'<f4'|'|O'|'fortran_order': True|'shape': (|-1|, )|1099511627776|(1,),(2,)|\n"


@dataclass(frozen=True)
class Target:
    """A reader, whole inputs for it, and pieces that mean something to it."""

    run: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]
    tokens: bytes = b""

    @property
    def words(self) -> list[bytes]:
        """The pieces."""
        return [word for word in self.tokens.split(b"|") if word]


READERS = {
    "caffemodel": Target(by_name("x.caffemodel", weights), _caffemodels, _WIRE),
    "prototxt": Target(by_name("x.prototxt", definition), _definitions, _WORDS),
    "solver": Target(
        by_name("s.prototxt", lambda path: prototxt.read(path, SolverParameter)),
        lambda: [b'net: "a" base_lr: 0.1 lr_policy: "step" solver_type: ADAM test_iter: 3 net_param { }'],
        _WORDS,
    ),
    "hdf5": Target(by_name("x.h5", weights), _hdf5, _HDF5),
    "safetensors": Target(
        by_name("x.safetensors", lambda path: whole(open_safetensors(path))),
        lambda: [_saved(lambda path: save_safetensors(small_net(), path), ".safetensors")],
        b'"dtype":"F32"|"BF16"|"shape":[|],"data_offsets":[|-1|1e999|null|{}|[]|18446744073709551616|"__metadata__"',
    ),
    "npy": Target(by_name("x.npy", lambda path: read_mean(path, (3, 4, 4))), _arrays, _NPY),
    "picture": Target(lambda data: decode(data, None, "it"), _pictures),
    "load_image": Target(lambda data: caffe.io.load_image(io.BytesIO(data)), _pictures),
    "datum": Target(datum, _datums, _WIRE),
    "solverstate": Target(by_name("x.solverstate", snapshot.read), _states, _WIRE),
    "mean": Target(by_name("x.binaryproto", mean), _means, _WIRE),
    "lmdb": Target(lmdb, _databases),
    "lists": Target(by_name("x.txt", lists), _lists, b"#|\n| |-1|99999999999|nan|0.5|# 1"),
}
