"""A small set of pictures made from the ten garments that caffepy carries: each one moved, turned, lit, mirrored."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from caffepy.zoo import fashion_mnist

SIZE = 227
MIRROR = Image.Transpose.FLIP_LEFT_RIGHT


def variant(picture: Image.Image, chance: np.random.Generator) -> Image.Image:
    """One of many pictures of the same garment, SIZE x SIZE, in colour."""
    width = int(SIZE * chance.uniform(0.6, 1.0))
    garment = picture.resize((width, width), Image.Resampling.BICUBIC).rotate(
        chance.uniform(-20, 20), Image.Resampling.BICUBIC
    )
    if chance.random() < 0.5:
        garment = garment.transpose(MIRROR)
    garment = ImageEnhance.Brightness(garment).enhance(chance.uniform(0.6, 1.3))
    canvas = Image.new("L", (SIZE, SIZE))
    canvas.paste(garment, tuple(int(edge) for edge in chance.integers(0, SIZE - width + 1, 2)))
    noise = chance.normal(0, 8, (SIZE, SIZE))
    return Image.fromarray(np.clip(np.asarray(canvas) + noise, 0, 255).astype(np.uint8)).convert("RGB")


def make(folder: Path, part: str, each: int, seed: int) -> None:
    """Write folder/part/*.png, `each` of every garment in random order, and folder/part.txt with their labels."""
    chance = np.random.default_rng(seed)
    (folder / part).mkdir(parents=True, exist_ok=True)
    lines = []
    for sample in fashion_mnist().samples:
        with Image.open(sample.picture) as picture:
            for number in range(each):
                name = f"{part}/{sample.label}-{number:03}.png"
                variant(picture.convert("L"), chance).save(folder / name)
                lines.append(f"{name} {sample.label}\n")
    chance.shuffle(lines)
    (folder / f"{part}.txt").write_text("".join(lines))


def main(arguments: Any = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("pictures"), help="default: %(default)s")
    parser.add_argument("--train", type=int, default=40, help="pictures of each garment to train with")
    parser.add_argument("--test", type=int, default=10, help="to test with")
    options = parser.parse_args(arguments)
    make(options.folder, "train", options.train, seed=1)
    make(options.folder, "test", options.test, seed=2)


if __name__ == "__main__":
    main()
