"""`caffepy explore`: a net, its layers and what they see, in a browser."""

import secrets
import socket
import webbrowser
from contextlib import closing

import click

from caffepy.cli.command import Subcommand
from caffepy.cli.model import fill_at_random
from caffepy.cli.options import ALLOW_OPTION, WEIGHTS_ENDINGS
from caffepy.errors import ArgumentError, StateError
from caffepy.limits import Limits
from caffepy.saliency.preprocess import IMAGENET_MEAN

_HERE = "127.0.0.1"
_PORT = 8420


@click.command(cls=Subcommand)
@click.argument("model", required=False, metavar="[MODEL]")
@click.argument("weights", required=False, metavar="[WEIGHTS]")
@click.option("--labels", metavar="FILE", help="The classes' names, one a line, such as synset_words.txt.")
@click.option(
    "--mean",
    metavar="B,G,R|FILE",
    help="What is subtracted: a number a channel, a .npy or .binaryproto file, or none. "
    f"[default: {IMAGENET_MEAN} for 3 channels at scale 255]",
)
@click.option("--scale", default=255.0, show_default=True, help="The value of white in the net's input.")
@click.option("--random-weights", is_flag=True, help="Take no WEIGHTS; look at the net with random ones.")
@ALLOW_OPTION
@click.option("--host", default=_HERE, show_default=True, help="Where to listen; elsewhere than here takes a token.")
@click.option("--port", type=click.IntRange(0, 65535), help=f"0 for any. [default: {_PORT}, or any that is free]")
@click.option("--no-browser", is_flag=True, help="Print the address, and open nothing.")
def explore(
    model: str | None,
    weights: str | None,
    labels: str | None,
    mean: str | None,
    scale: float,
    random_weights: bool,
    limits: Limits,
    host: str,
    port: int | None,
    no_browser: bool,
) -> None:
    """Look into a net on a page in your browser: its graph, what each layer sees, which pixels matter for which class.

    Without MODEL it is the small net that comes with caffepy; other models, and pictures, can be dropped on the page.
    Only this machine can open it. Ends with Ctrl-C.
    """
    try:
        from caffepy.explore.app import server
    except ImportError as error:
        raise StateError(f"caffepy explore serves its page with {error.name}: pip install caffepy[web]") from error
    from caffepy.explore import model as models

    if model is None:
        shown = models.embedded()
    else:
        if not (random_weights or weights or model.endswith(WEIGHTS_ENDINGS)):
            raise click.UsageError("Expected WEIGHTS after MODEL: give the trained .caffemodel, or --random-weights.")
        shown = models.opened(model, weights, labels=labels, mean=mean, scale=scale, limits=limits)
        if random_weights:
            fill_at_random(shown.net)
    token = None if host in (_HERE, "localhost") else secrets.token_urlsafe(16)
    with closing(_listening(host, port)) as listening:
        shown_host = f"[{host}]" if ":" in host else host
        address = f"http://{shown_host}:{listening.getsockname()[1]}/" + (f"?token={token}" if token else "")
        click.echo(f"{shown.name}: {address} (Ctrl-C ends it)")
        if not no_browser:
            webbrowser.open(address)
        server(shown, token=token).run(sockets=[listening])


def _listening(host: str, port: int | None) -> socket.socket:
    """A socket that takes connections: at the usual port, or at any where that is taken and none was asked for."""
    for each in (port,) if port is not None else (_PORT, 0):
        try:
            return socket.create_server((host, each), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            why = error
    raise ArgumentError(f"cannot listen at {host}, port {port}: {why.strerror or why}; choose another --host or --port")
