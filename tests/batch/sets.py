"""Small data sets in each form that a batch run reads, and what a net says of them, picture by picture."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

import caffepy as caffe
from caffepy import data

COUNT = 21
BAD = 5
"""The number of the picture that is none."""


def pictures(folder: Path, count: int = COUNT, bad: int | None = BAD) -> list[Path]:
    """PNGs of several sizes; number `bad` is none."""
    chance = np.random.default_rng(7)
    folder.mkdir()
    paths = [folder / f"{'ab'[i % 2]}{i:03}.png" for i in range(count)]
    for i, path in enumerate(paths):
        pixels = chance.integers(0, 256, (14 + i % 3, 11 + i % 2, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        if i == bad:
            path.write_bytes(b"no picture")
    return sorted(paths)


def listed(folder: Path, paths: list[Path]) -> str:
    """Caffe's list, each label the picture's place."""
    (folder / "list.txt").write_text("".join(f"{path} {i}\n" for i, path in enumerate(paths)))
    return str(folder / "list.txt")


def database(folder: Path, paths: list[Path], backend: str = "LMDB") -> str:
    with data.DatabaseWriter(folder / "db", backend) as writer:
        for i, path in enumerate(paths):
            datum = caffe.proto.caffe_pb2.Datum(data=path.read_bytes(), encoded=True, label=i)
            writer.put(f"{i:05}".encode(), datum.SerializeToString())
    return str(folder / "db")


def tar(folder: Path, paths: list[Path]) -> str:
    """WebDataset's layout: a .cls beside each picture, and other files."""
    with tarfile.open(folder / "set.tar", "w") as archive:
        for i, path in enumerate(paths):
            for ending, value in {"cls": str(i).encode(), "png": path.read_bytes(), "json": b"{}"}.items():
                info = tarfile.TarInfo(f"./x/{path.stem}.{ending}")
                info.size = len(value)
                archive.addfile(info, io.BytesIO(value))
    return str(folder / "set.tar")


def parquet(folder: Path, paths: list[Path], *, nested: bool) -> str:
    """As Hugging Face's data sets (nested), or plain; in row groups of 4."""
    import pyarrow
    from pyarrow.parquet import write_table

    files = [path.read_bytes() for path in paths]
    images = [{"bytes": file, "path": path.name} for file, path in zip(files, paths, strict=True)]
    table = pyarrow.table({"label": range(len(paths)), "image": images if nested else files})
    write_table(table, folder / "set.parquet", row_group_size=4)
    return str(folder / "set.parquet")


def expected(model: str, weights: str, paths: list[Path], blob: str) -> dict[int, np.ndarray]:
    """The blob for each picture that is one, one at a time, by the definition: BGR, resized, less ImageNet's mean."""
    net = caffe.Net(model, weights, caffe.TEST)
    _, channels, height, width = net.blobs["data"].data.shape
    net.blobs["data"].reshape(1, channels, height, width)
    found = {}
    for i, path in enumerate(paths):
        try:
            pixels = np.asarray(Image.open(path).convert("RGB"))[..., ::-1]
        except OSError:
            continue
        resized = data.resize(pixels, height, width).astype(np.float64) - (104, 117, 123)
        net.forward(data=resized.transpose(2, 0, 1)[np.newaxis])
        found[i] = net.blobs[blob].data[0].copy()
    return found
