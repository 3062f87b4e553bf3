"""`caffepy batch`: a whole data set through a net, on all cores, GPUs or a cluster."""

import json
from typing import Any

import click

from caffepy import batch as batches
from caffepy.batch.inputs import of_words
from caffepy.batch.tasks import labels_of
from caffepy.cli import gpus
from caffepy.cli.command import Subcommand
from caffepy.cli.options import ALLOW_OPTION, WEIGHTS_ENDINGS
from caffepy.saliency.preprocess import IMAGENET_MEAN

_TASKS = "--classify, --blobs, --saliency, --detect or --function"


@click.command(cls=Subcommand)
@click.argument("model", metavar="MODEL")
@click.argument("files", nargs=-1, metavar="[WEIGHTS] SOURCE")
@click.option("--out", metavar="FOLDER", help="Where the results go; a run that stopped is gone on with.")
@click.option(
    "--as", "sink", type=click.Choice(list(batches.SINKS)), help="How. [default: png for pictures, else parquet]"
)
@click.option("--classify", is_flag=True, help="The best classes.")
@click.option("--blobs", metavar="NAMES", help="What these blobs hold, such as fc7,prob.")
@click.option("--saliency", metavar="METHOD", help="Maps of what the target's score depends on.")
@click.option("--detect", is_flag=True, help="The boxes that an SSD or a YOLO finds.")
@click.option("--function", metavar="FILE.py:NAME", help="A function of the net, after a forward pass, and a batch.")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="Classes of each picture.")
@click.option("--output", metavar="BLOB", help="The blob of class values. [default: the net's only output]")
@click.option("--labels", metavar="FILE", help="The classes' names, one a line, such as synset_words.txt.")
@click.option("--target", default="top", show_default=True, help="Saliency's class: its index, its name, or top.")
@click.option("--draw", type=click.Choice(["map", "overlay"]), help="Saliency as pictures, and not as numbers.")
@click.option("--threshold", default=0.0, show_default=True, help="The least score of a detection.")
@click.option("--root", default="", metavar="PREFIX", help="What stands before every name of a list, as it is.")
@click.option(
    "--mean",
    metavar="B,G,R|FILE",
    help=f"What is subtracted, or none. [default: {IMAGENET_MEAN} for 3 channels at scale 255]",
)
@click.option("--scale", default=255.0, show_default=True, help="The value of white in the net's input.")
@click.option("--resize/--no-resize", default=True, show_default=True, help="Resize pictures to the net's input.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=NUMBERS",
    help="Values of another input: im_info=600,800,1.",
)
@click.option("--batch", "at_once", type=click.IntRange(1), help="Pictures in a pass. [default: as memory allows]")
@click.option(
    "--shard", type=click.IntRange(1), help="Pictures written at once. [default: 512, or 32 shards for each worker]"
)
@click.option("--workers", type=click.IntRange(1), help="How many. [default: one for each GPU, or core]")
@click.option("--threads", type=click.IntRange(1), help="Of each worker on the CPU. [default: the cores shared out]")
@click.option("--gpu", metavar="0,1|all", help="Run on these GPUs. [default: on the CPU]")
@click.option("--ray", metavar="ADDRESS|local", help="Run on a Ray cluster, or on a Ray of this machine.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Go on with what is in the folder.")
@click.option("--strict", is_flag=True, help="Stop at a picture that cannot be read.")
@click.option("--plan", is_flag=True, help="Say what it would cost, and do nothing.")
@click.option("--progress/--no-progress", default=None, help="A line of progress. [default: on a terminal]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@ALLOW_OPTION
def batch(model: str, files: tuple[str, ...], out: str | None, plan: bool, as_json: bool, **options: Any) -> None:
    """Do what is asked for with every picture of SOURCE, and write a row for each.

    SOURCE is a folder or a glob of pictures, Caffe's image list, an LMDB or LevelDB of Datums, or .tar (WebDataset's)
    or .parquet files. Rows go to shards, each of which is there whole or not at all; the same command again does what
    is missing. Pictures that cannot be read are listed in FOLDER/_errors.csv.
    """
    weights, source = _weights_and_source(model, files)
    draw, kind = options["draw"], options.pop("sink")
    task = _task(options)
    places = {
        "sink": kind or ("png" if draw else "parquet"),
        "batch": options.pop("at_once") or 0,
        "inputs": of_words(options.pop("inputs")),
        "workers": options.pop("workers") or 0,
        "threads": options.pop("threads") or 0,
        "gpus": gpus.usable(given) if (given := options.pop("gpu")) else (),
        **{name: options.pop(name) for name in ("mean", "scale", "resize", "limits")},
    }
    opened = batches.open_source(source, options.pop("root"))
    if plan:
        _tell(batches.plan(model, weights, opened, task, **places).as_dict(), as_json)
        return
    if not out:
        raise click.UsageError("Expected --out FOLDER, or --plan.")
    rest = {name: options[name] for name in ("ray", "resume", "strict", "progress")}
    rest["shard"] = options["shard"] or 0
    done = batches.run(model, weights, opened, out, task, **places, **rest)
    _tell(done.as_dict(), as_json)
    if done.errors:
        click.echo(f"Warning: {len(done.errors)} pictures could not be read; see {done.out}/_errors.csv", err=True)


def _weights_and_source(model: str, files: tuple[str, ...]) -> tuple[str | None, str]:
    if len(files) == 2:
        return files
    if len(files) == 1 and model.endswith(WEIGHTS_ENDINGS):
        return None, files[0]
    raise click.UsageError(f"Expected WEIGHTS and SOURCE after MODEL, got {', '.join(files) or 'nothing'}.")


def _task(options: dict[str, Any]) -> batches.Task:
    asked = [name for name in ("classify", "blobs", "saliency", "detect", "function") if options[name]]
    if len(asked) != 1:
        found = " and ".join(f"--{name}" for name in asked) or "none of them"
        raise click.UsageError(f"Say what is asked for by one of {_TASKS}; got {found}.")
    labels = labels_of(options["labels"])
    if options["draw"] and not options["saliency"]:
        raise click.UsageError("--draw goes with --saliency.")
    if options["blobs"]:
        return batches.Blobs(tuple(options["blobs"].split(",")))
    if options["saliency"]:
        return batches.Explain(options["saliency"], options["target"], labels, options["draw"] or "values")
    if options["detect"]:
        return batches.Detect(options["threshold"])
    if options["function"]:
        return batches.Function(options["function"])
    return batches.Classify(options["top"], labels, options["output"])


def _tell(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key}: {part:,}" for key, part in value.items())
        shown = f"{value:,}" if isinstance(value, int | float) else value
        click.echo(f"{name.replace('_', ' '):{width}}  {shown}")
