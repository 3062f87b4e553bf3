"""`caffepy convert-imageset`: a list of pictures as a database."""

import os
from functools import partial

import click

from caffepy.cli.command import Subcommand
from caffepy.data.imageset import Conversion, convert
from caffepy.rng import set_random_seed

BACKEND = click.option("--backend", metavar="NAME", default="lmdb", show_default=True, help="lmdb or leveldb.")


@click.command("convert-imageset", cls=Subcommand)
@click.argument("root_folder", metavar="ROOT_FOLDER")
@click.argument("list_file", metavar="LIST_FILE")
@click.argument("db_name", metavar="DB_NAME")
@click.option("--gray", is_flag=True, help="Treat pictures as grey ones.")
@click.option("--shuffle", is_flag=True, help="Put the lines into random order.")
@click.option("--seed", type=int, metavar="N", help="For --shuffle: the same order every time.")
@BACKEND
@click.option("--resize-width", "--resize_width", type=int, default=0, metavar="N", help="Needs --resize-height too.")
@click.option("--resize-height", "--resize_height", type=int, default=0, metavar="N", help="Needs --resize-width too.")
@click.option("--check-size", "--check_size", is_flag=True, help="Stop at a record of another size than the first.")
@click.option("--encoded", is_flag=True, help="Store picture files, not raw values.")
@click.option("--encode-type", "--encode_type", default="", metavar="EXT", help="png or jpg, say; implies --encoded.")
def convert_imageset(
    root_folder: str,
    list_file: str,
    db_name: str,
    gray: bool,
    shuffle: bool,
    seed: int | None,
    backend: str,
    resize_width: int,
    resize_height: int,
    check_size: bool,
    encoded: bool,
    encode_type: str,
) -> None:
    """Make database DB_NAME of the pictures whose names and labels the lines of LIST_FILE give.

    ROOT_FOLDER stands before every name as it is, so end it with a slash. Pictures that cannot be read are left out.
    """
    if seed is not None:
        set_random_seed(seed)
    from tqdm import tqdm

    how = Conversion(gray, shuffle, (resize_height, resize_width), check_size, encoded, encode_type)
    bar = partial(tqdm, unit="image", disable=None, leave=False)
    done = convert(root_folder, list_file, db_name, backend, how, progress=bar)
    skipped = f", {done.skipped} left out" if done.skipped else ""
    click.echo(f"written  {db_name} ({backend.upper()}): {done.written} records{skipped}")
    if done.skipped and not done.written and root_folder and not root_folder.endswith(os.sep):
        click.echo(f"Hint: ROOT_FOLDER stands before every name as it is; give {root_folder + os.sep}", err=True)
