"""Caffe's programs beside `caffe`, under their own names and in gflags' spelling, carried out by `caffepy`."""

import sys
from collections.abc import Callable, Sequence

import click

from caffepy import TEST, Net
from caffepy.cli.command import Subcommand
from caffepy.cli.options import ALLOW_OPTION
from caffepy.cli.tools.features import extract_to_databases
from caffepy.errors import ArgumentError
from caffepy.limits import Limits

_LOGGING = {"minloglevel", "stderrthreshold", "log_dir", "v", "vmodule", "log_link", "max_log_size"}
_LOGGING_SWITCHES = {"logtostderr", "alsologtostderr", "colorlogtostderr", "log_prefix"}
_TRUE, _FALSE = {"", "true", "t", "yes", "y", "1"}, {"false", "f", "no", "n", "0"}


def convert_imageset(arguments: Sequence[str] | None = None) -> None:
    """The program convert_imageset."""
    switches, takes = {"gray", "shuffle", "check_size", "encoded"}, {"backend", "encode_type"}
    _run("convert-imageset", arguments, switches, takes | {"resize_width", "resize_height"}, fewest=3)


def compute_image_mean(arguments: Sequence[str] | None = None) -> None:
    """The program compute_image_mean."""
    _run("compute-image-mean", arguments, set(), {"backend"}, fewest=1)


def extract_features(arguments: Sequence[str] | None = None) -> None:
    """The program extract_features."""
    given = ["-allow", "/", *_given(arguments)]
    _exit_with(lambda: _extract_features.main(_translated("extract_features", given, set(), {"allow"}, 6)))


@click.command("extract_features", cls=Subcommand)
@click.argument("weights")
@click.argument("prototxt")
@click.argument("blobs", metavar="BLOB[,BLOB...]")
@click.argument("databases", metavar="DB[,DB...]")
@click.argument("batches", type=click.IntRange(1), metavar="NUM_MINI_BATCHES")
@click.argument("backend", metavar="lmdb|leveldb")
@click.argument("mode", type=click.Choice(["CPU", "GPU"]), default="CPU")
@click.argument("gpu", metavar="[DEVICE_ID=0]", default="DEVICE_ID=0")
@ALLOW_OPTION
def _extract_features(
    weights: str,
    prototxt: str,
    blobs: str,
    databases: str,
    batches: int,
    backend: str,
    mode: str,
    gpu: str,
    limits: Limits,
) -> None:
    """Run NUM_MINI_BATCHES of the data that PROTOTXT's own data layer gives; write each BLOB's items to its DB."""
    number = gpu.removeprefix("DEVICE_ID=")
    if not number.isdecimal():
        raise ArgumentError(f"the GPU is given as DEVICE_ID=0, say; got {gpu!r}")
    with Net(prototxt, weights, TEST, device=int(number) if mode == "GPU" else "cpu", limits=limits) as net:
        counts = extract_to_databases(net, blobs.split(","), databases.split(","), batches, backend)
    for (blob, count), database in zip(counts.items(), databases.split(","), strict=True):
        click.echo(f"written  {database} ({backend.upper()}): {count} records of {blob}")


def _run(command: str, arguments: Sequence[str] | None, switches: set[str], takes: set[str], fewest: int) -> None:
    from caffepy.cli import main

    program = command.replace("-", "_")
    _exit_with(lambda: main.main([command, *_translated(program, _given(arguments), switches, takes, fewest)], program))


def _given(arguments: Sequence[str] | None) -> list[str]:
    return list(sys.argv[1:] if arguments is None else arguments)


def _exit_with(call: Callable[[], object]) -> None:
    try:
        call()
    except click.ClickException as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(error.exit_code)


def _translated(program: str, words: list[str], switches: set[str], takes: set[str], fewest: int) -> list[str]:
    """Click's spelling of gflags': -flag value, --flag=value, --noflag anywhere, logging flags left out."""
    flags: list[str] = []
    rest: list[str] = []
    following = iter(words)
    for word in following:
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or word == "-":
            rest.append(word)
        elif name in ("help", "h", "helpshort"):
            return ["--help"]
        elif name.removeprefix("no") in _LOGGING_SWITCHES:
            continue
        elif (plain := name.removeprefix("no") if name not in switches else name) in switches:
            said = plain == name
            if said and value.lower() in _FALSE:
                said = False
            elif value.lower() not in _TRUE:
                raise click.UsageError(f"{program}: flag {word!r} is true or false")
            flags += [f"--{plain.replace('_', '-')}"] if said else []
        elif name in takes | _LOGGING:
            if not equals and (value := next(following, "")) == "":
                raise click.UsageError(f"{program}: flag {word!r} needs a value")
            flags += [f"--{name.replace('_', '-')}", value] if name in takes else []
        else:
            known = ", ".join(f"-{flag}" for flag in sorted(switches | takes)) or "none but those of the log"
            raise click.UsageError(f"{program} has no flag {word!r}; there are {known}")
    if len(rest) < fewest:
        raise click.ClickException(
            f"{program}: expected {fewest} arguments at least, got {len(rest)}; see {program} --help"
        )
    return [*flags, "--", *rest]
