"""Fashion-MNIST's files unpacked into a folder of pictures, with the lists that `caffepy convert-imageset` takes."""

import argparse
import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

Bytes = NDArray[np.uint8]

DATA = Path("/usr/share/datasets/fashion-mnist")
PARTS = {"train": "train", "test": "t10k"}
"""The name of each part in its files."""
SAMPLES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"]
"""File names of the sample images, in the order of the labels 0 to 9."""


def load(folder: Path, part: str) -> tuple[Bytes, Bytes]:
    """Images (N, 28, 28) and labels (N) of `part`, "train" or "test"."""
    name = PARTS[part]
    return read_idx(folder / f"{name}-images-idx3-ubyte.gz"), read_idx(folder / f"{name}-labels-idx1-ubyte.gz")


def read_idx(path: Path) -> Bytes:
    """The bytes of a gzip IDX file, in the shape it states: two zeros, 8 (bytes), number of axes, extents, values."""
    if not path.exists():
        raise SystemExit(
            f"{path} is not there. Fashion-MNIST's four .gz files come with Debian's package dataset-fashion-mnist "
            f"(then --data {DATA}) or from https://github.com/zalandoresearch/fashion-mnist (data/fashion)"
        )
    content = gzip.decompress(path.read_bytes())
    axes = content[3] if content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content, ">u4", axes, 4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if not axes or values.size != math.prod(shape.tolist()):
        raise SystemExit(f"{path} is not a whole IDX file of bytes: download it again")
    return values.reshape(shape)


def unpack(images: Bytes, labels: Bytes, folder: Path, part: str) -> None:
    """Write folder/part/00000.png and so on, and folder/part.txt: a line of name and label for each."""
    (folder / part).mkdir(parents=True, exist_ok=True)
    names = [f"{part}/{i:05}.png" for i in range(len(images))]
    for name, image in zip(tqdm(names, part, leave=False), images, strict=True):
        Image.fromarray(image).save(folder / name, compress_level=1)
    lines = [f"{name} {label}\n" for name, label in zip(names, labels, strict=True)]
    (folder / f"{part}.txt").write_text("".join(lines))


def save_samples(images: Bytes, labels: Bytes, folder: Path) -> None:
    """The first image of each class as a 28 x 28 grey PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for label, name in enumerate(SAMPLES):
        Image.fromarray(images[labels == label][0]).save(folder / f"{label}-{name}.png", optimize=True)


def main(arguments: Any = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the four .gz files (default: %(default)s)")
    parser.add_argument("folder", type=Path, help="where the pictures and lists go")
    options = parser.parse_args(arguments)
    for part in PARTS:
        unpack(*load(options.data, part), options.folder, part)
    save_samples(*load(options.data, "test"), options.folder / "samples")


if __name__ == "__main__":
    main()
