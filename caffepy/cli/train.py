"""`caffepy train`: a solver run to its end, with Caffe's log or a line of progress."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from caffepy.cli import gpus
from caffepy.cli.command import Subcommand
from caffepy.cli.options import ALLOW_OPTION
from caffepy.cli.training import Training, as_rank, logging_as_caffe
from caffepy.errors import CaffeError
from caffepy.limits import Limits
from caffepy.parallel import NCCL, mpi, processes
from caffepy.parallel.nccl import NcclGroup
from caffepy.proto.caffe_pb2 import SolverParameter
from caffepy.solver.nets import read_solver

_EFFECTS = click.Choice(["stop", "snapshot", "none"])


@click.command(cls=Subcommand)
@click.argument("solver", metavar="SOLVER")
@click.option("--snapshot", metavar="FILE", help="Go on from this .solverstate or .solverstate.h5.")
@click.option("--weights", metavar="FILES", help="Begin with these weights, by layer name; commas between.")
@click.option("--gpu", metavar="N,...|all", help="Train on these GPUs. [default: as the solver's solver_mode says]")
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

    On several GPUs, or in the processes that mpiexec starts, each takes batches of the net's size, and their gradients
    are averaged.
    """
    if snapshot and weights:
        raise click.UsageError("Give a snapshot to resume training or weights to finetune, but not both.")
    shows = sys.stderr.isatty() if progress is None else progress
    with logging_as_caffe(None if shows else sys.stderr, log, year=log_year):
        param = read_solver(solver)
        param.train_state.level = level
        param.train_state.stage.extend(stage)
        if snapshot or weights:
            param.ClearField("weights")
        if weights:
            param.weights.append(weights)
        given = *_folders(solver, snapshot), *_files(weights)
        limits = replace(limits, allowed=(*limits.allowed, *given))
        training = Training(param, snapshot, limits, allow_nan, skip_bad_records, sigint_effect, sighup_effect)  # type: ignore[arg-type]
        chosen = _gpus(param, gpu, cpu=cpu)
        if mpi.started_by_mpi():
            _by_mpi(training, chosen, shows=shows)
        elif len(chosen) > 1:
            _on_gpus(training, chosen, log, year=log_year)
        else:
            training.run(chosen[0] if chosen else None, shows=shows)


def _folders(*files: str | None) -> list[str]:
    return [os.path.join(os.path.dirname(file) or ".", "") for file in files if file]


def _files(listed: str | None) -> list[str]:
    return [os.path.join(".", file.strip()) for file in (listed or "").split(",") if file]


def _gpus(param: SolverParameter, gpu: str | None, *, cpu: bool) -> list[int]:
    """Those that the options ask for, else the solver; none for the CPU."""
    if cpu or (gpu is None and not (param.HasField("solver_mode") and param.solver_mode == SolverParameter.GPU)):
        return []
    if gpu is None:
        return [param.device_id]
    found = gpus.numbers(gpu)
    return list(range(gpus.count())) or [0] if found is None else found


def _by_mpi(training: Training, chosen: list[int], *, shows: bool) -> None:
    """As one of the processes that mpiexec started, on this machine's GPUs in turn or on the CPU."""
    group = mpi.MpiGroup()
    here = chosen[mpi.local_rank() % len(chosen)] if chosen else None
    with mpi.together(group), as_rank(group.rank, group.size):
        training.run(here, join=lambda: group, shows=shows and group.rank == 0)


def _on_gpus(training: Training, chosen: list[int], log: Path | None, *, year: bool) -> None:
    """In a process of its own on each GPU; what this one is told by signals, the first one is."""
    uid, count = NCCL.new_uid(), len(chosen)
    each = [(training, uid, rank, count, gpu, log, year) for rank, gpu in enumerate(chosen)]
    processes.together(_on_gpu, each, [f"GPU {gpu}" for gpu in chosen])


def _on_gpu(training: Training, uid: Any, rank: int, count: int, gpu: int, log: Path | None, year: bool) -> None:
    try:
        with logging_as_caffe(sys.stderr, None if rank else log, year=year), as_rank(rank, count):
            training.run(gpu, join=lambda: NcclGroup(uid, rank, count))
    except CaffeError as error:
        click.echo(f"Error: rank {rank} of {count}, on GPU {gpu}: {error}", err=True)
        raise SystemExit(1) from error
