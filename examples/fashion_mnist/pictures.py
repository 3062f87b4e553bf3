"""Fashion-MNIST's files unpacked into a folder of pictures, with the lists that `caffepy convert-imageset` takes."""

import argparse
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm
from train import DATA, Bytes, load

PARTS = {"train": "train", "test": "t10k"}
"""The name of each part in Fashion-MNIST's files."""


def unpack(images: Bytes, labels: Bytes, folder: Path, part: str) -> None:
    """Write folder/part/00000.png and so on, and folder/part.txt: a line of name and label for each."""
    (folder / part).mkdir(parents=True, exist_ok=True)
    names = [f"{part}/{i:05}.png" for i in range(len(images))]
    for name, image in zip(tqdm(names, part, leave=False), images, strict=True):
        Image.fromarray(image).save(folder / name, compress_level=1)
    lines = [f"{name} {label}\n" for name, label in zip(names, labels, strict=True)]
    (folder / f"{part}.txt").write_text("".join(lines))


def main(arguments: Any = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the four .gz files (default: %(default)s)")
    parser.add_argument("folder", type=Path, help="where the pictures and lists go")
    options = parser.parse_args(arguments)
    for part, name in PARTS.items():
        unpack(*load(options.data, name), options.folder, part)


if __name__ == "__main__":
    main()
