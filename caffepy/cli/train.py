"""`caffepy train`: a solver run to its end, with Caffe's log or a line of progress."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import click

from caffepy import device
from caffepy.cli.command import Subcommand
from caffepy.cli.options import ALLOW_OPTION
from caffepy.cli.progress import progress
from caffepy.data import bad_records
from caffepy.errors import ArgumentError, CaffeError
from caffepy.layers.data.prefetching import PrefetchingLayer
from caffepy.limits import Limits
from caffepy.proto.caffe_pb2 import SolverParameter
from caffepy.pycaffe.logs import GlogFormatter
from caffepy.solver import Solver, get_solver
from caffepy.solver.log import say
from caffepy.solver.nets import read_solver
from caffepy.solver.signals import Signals

log = logging.getLogger("caffepy")

_EFFECTS = click.Choice(["stop", "snapshot", "none"])


@click.command(cls=Subcommand)
@click.argument("solver", metavar="SOLVER")
@click.option("--snapshot", metavar="FILE", help="Go on from this .solverstate or .solverstate.h5.")
@click.option("--weights", metavar="FILES", help="Begin with these weights, by layer name; commas between.")
@click.option("--gpu", metavar="N", help="Train on GPU number N. [default: as the solver's solver_mode says]")
@click.option("--cpu", is_flag=True, help="Train on the CPU, whatever the solver says.")
@click.option("--level", default=0, show_default=True, help="The training net's level, for min_level and max_level.")
@click.option("--stage", multiple=True, metavar="NAME", help="A stage of the training net; may be given again.")
@click.option("--sigint-effect", type=_EFFECTS, default="stop", show_default=True, help="What Ctrl-C does.")
@click.option("--sighup-effect", type=_EFFECTS, default="snapshot", show_default=True, help="What a hangup does.")
@click.option("--allow-nan", is_flag=True, help="Go on where the loss is NaN or infinite, as Caffe does.")
@click.option("--skip-bad-records", is_flag=True, help="Leave out data that cannot be read, and count them.")
@click.option("--log", metavar="FILE", type=click.Path(path_type=Path), help="Write Caffe's log here, too.")
@click.option("--log-year", is_flag=True, help="Put the year into the log's dates, as newer versions of glog do.")
@click.option("--progress/--no-progress", default=None, help="A line of progress. [default: on a terminal]")
@ALLOW_OPTION
def train(
    solver: str,
    snapshot: str | None,
    weights: str | None,
    gpu: str | None,
    cpu: bool,
    level: int,
    stage: tuple[str, ...],
    sigint_effect: str,
    sighup_effect: str,
    allow_nan: bool,
    skip_bad_records: bool,
    log: Path | None,
    log_year: bool,
    progress: bool | None,
    limits: Limits,
) -> None:
    """Train what the prototxt SOLVER describes, until its max_iter.

    What Caffe would log goes to stderr, in its format; on a terminal there is a line of progress instead. Ctrl-C writes
    a snapshot and stops, a hangup writes a snapshot. Files that SOLVER and its nets name are read and written in the
    folders of SOLVER and of the snapshot to go on from; elsewhere with --allow.
    """
    if snapshot and weights:
        raise click.UsageError("Give a snapshot to resume training or weights to finetune, but not both.")
    shows = sys.stderr.isatty() if progress is None else progress
    with _logging(None if shows else sys.stderr, log, year=log_year):
        param = read_solver(solver)
        param.train_state.level = level
        param.train_state.stage.extend(stage)
        if snapshot or weights:
            param.ClearField("weights")
        if weights:
            param.weights.append(weights)
        given = *_folders(solver, snapshot), *_files(weights)
        limits = replace(limits, allowed=(*limits.allowed, *given))
        with _running_on(param, gpu, cpu=cpu), Signals(sigint_effect, sighup_effect) as signals:  # type: ignore[arg-type]
            with bad_records.skip_bad_records(skip_bad_records):
                made = get_solver(param, allow_nan=allow_nan, limits=limits)
            made.requested_action = signals
            try:
                _run(made, snapshot, shows=shows)
            finally:
                _tell_skipped(made)


def _folders(*files: str | None) -> list[str]:
    return [os.path.join(os.path.dirname(file) or ".", "") for file in files if file]


def _files(listed: str | None) -> list[str]:
    return [os.path.join(".", file.strip()) for file in (listed or "").split(",") if file]


def _run(solver: Solver, snapshot: str | None, *, shows: bool) -> None:
    if snapshot:
        say("caffe.cpp:235", f"Resuming from {snapshot}")
        solver.restore(snapshot)
    say("caffe.cpp:239", "Starting Optimization")
    with progress(solver) if shows else ExitStack():
        solver.solve()
    say("caffe.cpp:250", "Optimization Done.")


def _tell_skipped(solver: Solver) -> None:
    layers = [layer for net in (solver.net, *solver.test_nets) for layer in net.layers]
    for layer in layers:
        if isinstance(layer, PrefetchingLayer) and layer.skipped:
            log.warning("layer %r (%s): %d bad records were left out", layer.name, layer.type, layer.skipped)


@contextmanager
def _running_on(param: SolverParameter, gpu: str | None, *, cpu: bool) -> Iterator[None]:
    """The mode that the options ask for, else the solver; the CPU again afterwards."""
    chosen = gpu
    if not (gpu or cpu) and param.HasField("solver_mode") and param.solver_mode == SolverParameter.GPU:
        chosen = str(param.device_id)
    if cpu or chosen is None:
        say("caffe.cpp:197", "Use CPU.")
        yield
        return
    try:
        number = 0 if chosen == "all" else int(chosen.split(",")[0])
    except ValueError:
        raise ArgumentError(f"--gpu {chosen}: give the number of a GPU") from None
    if chosen == "all" or "," in chosen:
        say("caffe.cpp:204", f"Of the GPUs {chosen} only {number} is used: training is on one", logging.WARNING)
    say("caffe.cpp:204", f"Using GPUs {number}")
    device.set_device(number)
    try:
        device.set_mode_gpu()
    except CaffeError as error:
        raise type(error)(f"{error}; with --cpu, training runs on the CPU") from error
    try:
        yield
    finally:
        device.set_mode_cpu()


@contextmanager
def _logging(stream: TextIO | None, file: Path | None, *, year: bool) -> Iterator[None]:
    """The package's log as Caffe's, to the stream and to the file, and nowhere else; the file is told of an error."""
    log = logging.getLogger("caffepy")
    handlers: list[logging.Handler] = [] if stream is None else [logging.StreamHandler(stream)]
    if file is not None:
        try:
            handlers.append(logging.FileHandler(file, encoding="utf-8"))
        except OSError as error:
            raise ArgumentError(f"--log {file}: cannot be written: {error.strerror}") from error
    for handler in handlers:
        handler.setFormatter(GlogFormatter(year=year))
    before, level = log.handlers, log.level
    log.handlers = handlers
    log.setLevel(logging.INFO)
    try:
        yield
    except CaffeError as error:
        log.handlers = handlers[:] if stream is None else handlers[1:]
        log.critical("%s", error)
        raise
    finally:
        log.handlers = before
        log.setLevel(level)
        for handler in handlers:
            handler.close()
