"""`caffepy upgrade-net`: a prototxt or .caffemodel of an old format, in the current one."""

from pathlib import Path

import click
import numpy as np
from google.protobuf.message import Message

from caffepy.cli.command import Subcommand
from caffepy.errors import ArgumentError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter
from caffepy.proto.caffemodel import StoredBlob, open_weights, write_weights
from caffepy.proto.files import HEAD, kind_of, open_binary
from caffepy.proto.stored import FloatArray
from caffepy.proto.upgrade import upgrade_net as upgrade


@click.command("upgrade-net", cls=Subcommand)
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT", required=False)
def upgrade_net(source: str, target: str | None) -> None:
    """Bring a net to the current format: V0 and V1 layers, input fields, data transformations, forks' spellings.

    IN is a prototxt, or a .caffemodel with its weights; OUT is of the same kind. A .caffemodel's definition alone is
    written where OUT ends in .prototxt. A prototxt is printed if there is no OUT. What was changed is told on stderr.
    """
    with open_binary(source) as file:
        is_text = kind_of(file.read(HEAD)) == "text"
    if is_text:
        net = prototxt.read(source, NetParameter)
        tell(source, upgrade(net))
        write_text(net, target)
    else:
        _upgrade_weights(source, target)


def tell(source: str, notes: list[str]) -> None:
    """What was changed, on stderr."""
    for note in notes or ["is of the current format already"]:
        click.echo(f"{source}: {note}", err=True)


def write_text(message: Message, target: str | None) -> None:
    """To the file, or printed."""
    if target is None:
        click.echo(prototxt.format(message), nl=False)
    elif target.endswith(".caffemodel"):
        raise ArgumentError(f"{target}: a prototxt has no weights to write; give a name ending in .prototxt")
    else:
        prototxt.write(target, message)


def _upgrade_weights(source: str, target: str | None) -> None:
    if target is None:
        raise click.UsageError(f"{source} holds weights: expected OUT, the file to write.")
    with open_weights(source) as weights:
        if not weights.net.layer:
            raise ArgumentError(f"{source}: HDF5 weights hold no net, and are of the current format already")
        if target.endswith((".prototxt", ".txt")):
            write_text(weights.net, target)
        else:
            if Path(target).exists() and Path(target).samefile(source):
                raise ArgumentError(f"{target}: give OUT another name than IN")
            stored = weights.of_layers()
            values = [[_current(layer, blob) for blob in stored[i]] for i, layer in enumerate(weights.net.layer)]
            write_weights(target, weights.net, values)
    click.echo(f"{target}: written", err=True)


def _current(layer: LayerParameter, blob: StoredBlob) -> FloatArray:
    """The values in the shape that a net of today gives the blob: old files gave every blob 4 axes."""
    values = blob.array()
    if not blob.legacy or (blob.index == 0 and layer.type in ("Convolution", "Deconvolution")):
        return values
    axes = 2 if blob.index == 0 and layer.type in ("InnerProduct", "Embed") else 1
    return values.reshape(values.shape[-axes:]) if np.prod(values.shape[-axes:]) == values.size else values
