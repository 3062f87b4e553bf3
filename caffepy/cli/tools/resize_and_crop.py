"""`caffepy resize-and-crop`: a folder of pictures brought to one square size."""

import os
from pathlib import Path

import click

from caffepy.cli.command import Subcommand
from caffepy.data.bilinear import Picture, resize
from caffepy.data.encode import encode
from caffepy.data.files import read_lines
from caffepy.data.pictures import read_picture
from caffepy.data.threads import side_by_side
from caffepy.errors import ArgumentError, CaffeError, DataError, MissingFileError
from caffepy.proto.files import replacing

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


@click.command("resize-and-crop", cls=Subcommand)
@click.option("--input-folder", "--input_folder", required=True, metavar="FOLDER", help="Where the pictures are.")
@click.option("--output-folder", "--output_folder", required=True, metavar="FOLDER", help="Where they go, names kept.")
@click.option(
    "--output-side-length",
    "--output_side_length",
    type=click.IntRange(1, 16384),
    default=256,
    show_default=True,
    metavar="N",
    help="Height and width in pixels.",
)
@click.option("--list", "listed", metavar="FILE", help="Only the pictures that its lines name, below the input folder.")
def resize_and_crop(input_folder: str, output_folder: str, output_side_length: int, listed: str | None) -> None:
    """Resize pictures so that their shorter side is N pixels long, and cut out the square in the middle."""
    source, target = Path(input_folder), Path(output_folder)
    names = read_lines(listed) if listed else _pictures_below(source)
    from tqdm import tqdm

    failed = 0
    with tqdm(total=len(names), unit="image", disable=None, leave=False) as bar:
        for start in range(0, len(names), 64):
            part = names[start : start + 64]
            for name, error in zip(
                part, side_by_side(lambda name: _convert(source, target, name, output_side_length), part), strict=True
            ):
                if error:
                    failed += 1
                    click.echo(f"left out  {name}: {error}", err=True)
            bar.update(len(part))
    click.echo(f"written  {target}: {len(names) - failed} pictures" + (f", {failed} left out" if failed else ""))


def square(picture: Picture, side: int) -> Picture:
    """The middle of the picture, resized until its shorter side is `side` long (resize_and_crop_images.py)."""
    height, width = picture.shape[:2]
    tall = height > width
    new_height, new_width = (side * height // width, side) if tall else (side, side * width // height)
    if max(new_height, new_width) > 2**16:
        raise DataError(f"a picture of {height} x {width} is too narrow to be resized to {new_height} x {new_width}")
    resized = resize(picture, new_height, new_width)
    top, left = (new_height - side) // 2, (new_width - side) // 2
    return resized[top : top + side, left : left + side]


def _convert(source: Path, target: Path, name: str, side: int) -> CaffeError | None:
    out = target / name
    try:
        if not out.resolve().is_relative_to(target.resolve()):
            raise ArgumentError(f"{name!r} leads out of the output folder")
        data = encode(square(read_picture(source / name, True), side), out.suffix[1:])
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as beside, open(beside, "wb") as file:
            file.write(data)
    except CaffeError as error:
        return error
    return None


def _pictures_below(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise MissingFileError(f"--input-folder {os.fspath(folder)!r}: there is no such folder")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS and path.is_file())
    return sorted(str(path.relative_to(folder)) for path in found)
