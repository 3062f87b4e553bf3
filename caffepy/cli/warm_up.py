"""`caffepy warm-up`: compile a net's kernels ahead of its first use."""

import time

import click

from caffepy import TEST, TRAIN, Net, device
from caffepy.cli.command import Subcommand
from caffepy.cli.options import ALLOW_OPTION
from caffepy.limits import Limits


@click.command("warm-up", cls=Subcommand)
@click.argument("model", metavar="MODEL.prototxt")
@click.option("--gpu", "index", default=0, show_default=True, help="The GPU's number.")
@click.option("--batch", type=int, multiple=True, help="Images of a pass; may be given again. [default: the model's]")
@click.option("--phase", type=click.Choice(["test", "train"]), default="test", show_default=True)
@click.option("--tune", is_flag=True, help="Measure which way to launch each product is fastest, and remember it.")
@ALLOW_OPTION
def warm_up(model: str, index: int, batch: tuple[int, ...], phase: str, tune: bool, limits: Limits) -> None:
    """Compile what a GPU needs for MODEL, so that its first pass does not wait for the compiler.

    Runs forward, backward and a gradient, on initial weights, for each --batch. CuPy keeps compiled kernels on disk
    (CUPY_CACHE_DIR, ~/.cupy/kernel_cache); another GPU model or another version of caffepy needs its own.
    """
    with Net(model, TEST if phase == "test" else TRAIN, device=index, limits=limits) as net:
        for images in batch or (None,):
            if images is not None:
                for name in net.inputs:
                    net.blob(name).reshape(images, *net.blob(name).shape[1:])
            start = time.perf_counter()
            measured = net.tune() if tune else []
            _run(net)
            seconds = time.perf_counter() - start
            shapes = ", ".join(f"{name} {net.blob(name).shape}" for name in net.inputs) or "no inputs"
            click.echo(f"{shapes}: ready after {seconds:.1f} s on {device.gpu(index).title}")
            if measured:
                ours, by_formula = (sum(getattr(m, n) for m in measured) for n in ("milliseconds", "by_formula"))
                click.echo(f"{len(measured)} products: {ours:.3f} ms by measurement, {by_formula:.3f} ms by formula")


def _run(net: Net) -> None:
    last = len(net.layers) - 1
    net.forward_from_to(0, last)
    net.backward_from_to(last, 0)
    net.gradient(dict.fromkeys(net.outputs, 1.0))
