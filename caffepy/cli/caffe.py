"""The program `caffe`: the original's command line, in gflags' spelling, carried out by `caffepy`'s subcommands."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from caffepy import __version__

_USAGE = """\
usage: caffe <command> <flags>

commands
  train         train or fine-tune a model
  test          score a model: its outputs, averaged over batches
  time          how long each layer takes
  device_query  which GPUs there are

flags, as -flag value, -flag=value, --flag value or --flag=value
  solver        the solver's prototxt, to train
  snapshot      the .solverstate to go on from
  model         the prototxt, or a .caffemodel that holds its definition
  weights       the trained .caffemodel; to train, also several: a,b
  iterations    batches, or runs of each layer; default 50
  gpu           the GPU's number, or for device_query 0,1 or all; default: the CPU
  phase         TRAIN or TEST; default TEST to test, TRAIN to time
  allow         modules that Python layers may import: a,b; all for any
  level, stage  which of the model's layers; stage: a,b
  sigint_effect, sighup_effect
                snapshot, stop or none; default: Ctrl-C stops, a hangup writes a snapshot

`caffepy --help` lists what there is beyond the original's commands."""
_TAKES = {"allow", "model", "weights", "iterations", "gpu", "phase", "level", "stage"}
_OF_TRAIN = {"solver", "snapshot", "sigint_effect", "sighup_effect"}
_LOGGING = {"minloglevel", "stderrthreshold", "log_dir", "v", "vmodule", "log_link", "max_log_size"}
_LOGGING_SWITCHES = {"logtostderr", "alsologtostderr", "colorlogtostderr", "log_prefix"}
_COMMANDS = ("train", "test", "time", "device_query")


@dataclass
class _Given:
    """A command line taken apart."""

    command: str | None = None
    flags: dict[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> None:
    """Carry out a command line, by default the process's; ends in SystemExit, code 0 if all went well."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        translated = _translated(given)
    except click.ClickException as error:
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(error.exit_code)
    if isinstance(translated, str):
        click.echo(translated)
        sys.exit(0)
    from caffepy.cli import main as caffepy

    caffepy.main(args=translated, prog_name="caffe")


def _translated(arguments: Sequence[str]) -> list[str] | str:
    """What `caffepy` is to be called with; or the answer itself."""
    given = _parse(arguments)
    if "version" in given.flags:
        return f"caffe version 1.0.0, as caffepy {__version__}"
    if given.command in (None, "help") or {"help", "h", "helpshort"} & set(given.flags):
        return _USAGE
    if given.command == "train":
        return _train(given.flags)
    if given.command not in _COMMANDS:
        raise click.UsageError(f"caffe has no command {given.command!r}; there are {', '.join(_COMMANDS)}")
    if given.command == "device_query":
        return ["device-query", "--gpu", given.flags.get("gpu") or "all"]
    return _on_a_net(given.command, given.flags)


def _train(flags: dict[str, str]) -> list[str]:
    """`train`, with the log on stderr; flags that are no concern of it are ignored, as the original does."""
    if not flags.get("solver"):
        raise click.UsageError("caffe train: -solver is missing; give the solver's prototxt: -solver solver.prototxt")
    options = [*_allow(flags), "--no-progress"]
    for name in ("snapshot", "weights", "gpu", "level", "sigint_effect", "sighup_effect"):
        if flags.get(name):
            options += [f"--{name.replace('_', '-')}", flags[name]]
    for stage in filter(None, flags.get("stage", "").split(",")):
        options += ["--stage", stage]
    return ["train", *options, "--", flags["solver"]]


def _on_a_net(command: str, flags: dict[str, str]) -> list[str]:
    """`test` and `time`."""
    if not flags.get("model"):
        raise click.UsageError(f"caffe {command}: -model is missing; give the net: caffe {command} -model net.prototxt")
    if command == "test" and not flags.get("weights") and not flags["model"].endswith(".caffemodel"):
        raise click.UsageError("caffe test: -weights is missing; give the trained .caffemodel")
    options = [*_allow(flags), "--iterations", flags.get("iterations", "50"), "--level", flags.get("level", "0")]
    options += ["--phase", (flags.get("phase") or ("test" if command == "test" else "train")).lower()]
    for stage in filter(None, flags.get("stage", "").split(",")):
        options += ["--stage", stage]
    if gpu := flags.get("gpu"):
        options += ["--gpu", "0" if gpu == "all" else gpu.split(",")[0]]  # Caffe runs these two on the first
    return [command, *options, "--", flags["model"], *filter(None, [flags.get("weights")])]


def _allow(flags: dict[str, str]) -> list[str]:
    """Files are read wherever they are, as the original does; modules are imported only if that is asked for."""
    return [word for name in ("/", *filter(None, flags.get("allow", "").split(","))) for word in ("--allow", name)]


def _parse(arguments: Sequence[str]) -> _Given:
    """Flags anywhere, as gflags takes them; what logging flags say is left to GLOG_minloglevel."""
    given = _Given()
    rest = iter(arguments)
    for word in rest:
        if not word.startswith("-") or word in ("-", "--"):
            if word != "--":
                given.command = _only(given.command, word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if name in ("help", "helpshort", "h", "version") or name.removeprefix("no") in _LOGGING_SWITCHES:
            given.flags[name] = value
            continue
        if name not in _TAKES | _OF_TRAIN | _LOGGING:
            raise click.UsageError(f"caffe has no flag {word!r}; there are -{', -'.join(sorted(_TAKES | _OF_TRAIN))}")
        if not equals:
            following = next(rest, None)
            if following is None:
                raise click.UsageError(f"caffe: flag {word!r} needs a value")
            value = following
        given.flags[name] = value
    return given


def _only(before: str | None, word: str) -> str:
    if before is not None:
        raise click.UsageError(f"caffe takes one command, got {before!r} and {word!r}; flags begin with -")
    return word
