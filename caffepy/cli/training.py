"""A solver trained in this process, alone or as one of several, and Caffe's log of it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from caffepy import device
from caffepy.cli.progress import progress
from caffepy.data import bad_records
from caffepy.device.ranks import set_solver_count, set_solver_rank, solver_count, solver_rank
from caffepy.errors import ArgumentError, CaffeError
from caffepy.layers.data.prefetching import PrefetchingLayer
from caffepy.limits import Limits
from caffepy.parallel import GradientMean, Group
from caffepy.proto.caffe_pb2 import SolverParameter
from caffepy.pycaffe.logs import GlogFormatter
from caffepy.solver import Action, Solver, get_solver
from caffepy.solver.log import say
from caffepy.solver.signals import Signals

log = logging.getLogger("caffepy")


@dataclass(frozen=True)
class Training:
    """What is trained, and how. It can be pickled."""

    param: SolverParameter
    snapshot: str | None
    limits: Limits
    allow_nan: bool
    skip_bad_records: bool
    sigint: Action
    sighup: Action

    def run(self, gpu: int | None, *, join: Callable[[], Group] | None = None, shows: bool = False) -> None:
        """Train on that GPU or the CPU, with the group that `join` gives, if any; `shows` a line of progress."""
        with _running_on(gpu), Signals(self.sigint, self.sighup) as signals:
            with bad_records.skip_bad_records(self.skip_bad_records):
                solver = get_solver(self.param, allow_nan=self.allow_nan, limits=self.limits)
            solver.requested_action = signals
            try:
                if self.snapshot:
                    say("caffe.cpp:235", f"Resuming from {self.snapshot}")
                    solver.restore(self.snapshot)
                if join is not None:
                    _join(solver, join())
                say("caffe.cpp:239", "Starting Optimization")
                with progress(solver) if shows else ExitStack():
                    solver.solve()
                say("caffe.cpp:250", "Optimization Done.")
            finally:
                _tell_skipped(solver)


def _join(solver: Solver, group: Group) -> None:
    """Train with the others of the group, on the first one's weights."""
    mean = GradientMean(solver, group)
    mean.bcast()
    solver.add_callback(mean)
    if solver.param.HasField("layer_wise_reduce") and solver.param.layer_wise_reduce:
        solver.net.callbacks.after_backward.append(mean)


@contextmanager
def as_rank(rank: int, count: int) -> Iterator[None]:
    """Be that one of so many solvers."""
    before = solver_rank(), solver_count()
    set_solver_rank(rank)
    set_solver_count(count)
    try:
        yield
    finally:
        set_solver_rank(before[0])
        set_solver_count(before[1])


def _tell_skipped(solver: Solver) -> None:
    layers = [layer for net in (solver.net, *solver.test_nets) for layer in net.layers]
    for layer in layers:
        if isinstance(layer, PrefetchingLayer) and layer.skipped:
            log.warning("layer %r (%s): %d bad records were left out", layer.name, layer.type, layer.skipped)


@contextmanager
def _running_on(gpu: int | None) -> Iterator[None]:
    """That GPU's mode; the CPU again afterwards."""
    if gpu is None:
        say("caffe.cpp:197", "Use CPU.")
        yield
        return
    say("caffe.cpp:204", f"Using GPUs {gpu}")
    device.set_device(gpu)
    try:
        device.set_mode_gpu()
    except CaffeError as error:
        raise type(error)(f"{error}; with --cpu, training runs on the CPU") from error
    try:
        yield
    finally:
        device.set_mode_cpu()


@contextmanager
def logging_as_caffe(stream: TextIO | None, file: Path | None, *, year: bool) -> Iterator[None]:
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
