"""`caffepy extract-features`: blobs of many pictures, into one file."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import numpy as np

from caffepy.blob import Floats, Shape
from caffepy.cli.command import Subcommand
from caffepy.cli.pictures import PictureJob, picture_options
from caffepy.errors import ArgumentError
from caffepy.proto.files import replacing
from caffepy.proto.hdf5 import new_hdf5
from caffepy.pycaffe.picture_net import PictureNet

_ENDINGS = (".npy", ".npz", ".h5", ".hdf5")


@click.command("extract-features", cls=Subcommand)
@picture_options
@click.option("--blob", "blobs", multiple=True, required=True, metavar="NAME", help="Which; may be given again.")
@click.option("-o", "--out", required=True, metavar="FILE", help="A .npy for one blob, a .npz or .h5 for any number.")
def extract_features(job: PictureJob, blobs: tuple[str, ...], out: str) -> None:
    """Write what blobs hold for each IMAGE: arrays whose first axis counts the pictures, in the order given.

    A .npz or .h5 has an array for each blob, by its name, and `images`, the files' names. Blobs of an .npy or .h5 go
    to the disk batch by batch.
    """
    if not out.endswith(_ENDINGS):
        raise click.UsageError(f"--out {out}: the name must end in {', '.join(_ENDINGS)}.")
    if out.endswith(".npy") and len(blobs) != 1:
        raise click.UsageError(f"--out {out}: an .npy takes one blob; give a name ending in .npz or .h5.")
    if not out.endswith(".npy"):
        _check_names(out, blobs)
    net, described = job.open(PictureNet)
    with net:
        items = job.batches(net)
        first = next(items)  # which has reshaped the net
        shapes = {name: (len(job.files), *_item_shape(net, name)) for name in blobs}
        with _file(out, shapes, job.files) as arrays:
            done = 0
            for _, pictures in _chained(first, items):
                values = _features(net, list(blobs), pictures)
                for name, value in values.items():
                    arrays[name][done : done + len(pictures)] = value
                done += len(pictures)
    click.echo(f"input    {described}")
    for name, shape in shapes.items():
        click.echo(f"{name}  {'x'.join(map(str, shape))}")
    click.echo(f"written  {out}")


def _check_names(out: str, blobs: Sequence[str]) -> None:
    """Raise ArgumentError for names that mean something else in an archive, or outside of it when it is unpacked."""
    for name in blobs:
        if name in ("images", "file") or "\0" in name or {"", ".", ".."} & {*re.split(r"[/\\]", name)}:
            raise ArgumentError(f"--blob {name!r} cannot be the name of an array in {out!r}; write it into a .npy")


def _features(net: PictureNet, blobs: list[str], pictures: list[Floats]) -> dict[str, Floats]:
    in_ = net.inputs[0]
    data = np.stack([net.transformer.preprocess(in_, picture) for picture in pictures])
    found = net.forward_all(blobs=blobs, **{in_: data})
    return {name: found[name] for name in blobs}


def _item_shape(net: PictureNet, name: str) -> Shape:
    """Of one picture's part of the blob."""
    shape, items = net.blob(name).shape, net.blob(net.inputs[0]).shape[0]
    if not shape or shape[0] != items:
        raise ArgumentError(
            f"--blob {name}: its shape is {shape} for {items} pictures; the first axis must count the pictures"
        )
    return tuple(shape[1:])


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


@contextmanager
def _file(out: str, shapes: Mapping[str, Shape], images: list[str]) -> Iterator[Mapping[str, Any]]:
    """Arrays to be filled; the file is there when all of them are."""
    with replacing(out) as beside:
        if out.endswith(".npy"):
            ((name, shape),) = shapes.items()
            array = np.lib.format.open_memmap(beside, "w+", np.float32, shape)
            _reserve(beside)
            yield {name: array}
            array.flush()
        elif out.endswith(".npz"):
            arrays = {name: np.empty(shape, np.float32) for name, shape in shapes.items()}
            yield arrays
            with open(beside, "wb") as file:
                np.savez(file, images=np.array(images), **arrays)  # type: ignore[arg-type]
        else:
            import h5py

            with new_hdf5(beside) as file:
                yield {name: file.create_dataset(name, shape, np.float32) for name, shape in shapes.items()}
                file.create_dataset("images", data=images, dtype=h5py.string_dtype())


def _reserve(path: str) -> None:
    """Take the file's whole size on the disk: a page of it for which there is no room later would end the process."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
