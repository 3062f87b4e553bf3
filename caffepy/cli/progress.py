"""The line of progress that training shows on a terminal."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from caffepy.solver import Action, Solver

_TOLD = ("solver.cpp:347", "solver.cpp:414", "solver.cpp:464", "sgd_solver.cpp:50")
"""Lines of the log that a terminal gets too: tests and their results, snapshots, steps of the rate."""


@contextmanager
def progress(solver: Solver) -> Iterator[None]:
    """Keep a line of iteration, loss, rate, images a second, share of time that waited for data, and time to go."""
    asked, log = solver.requested_action, logging.getLogger("caffepy")
    images, start = _images(solver), time.perf_counter()
    waited = _waited(solver)
    line: Any = tqdm(total=solver.max_iter, initial=solver.iter, unit="it", dynamic_ncols=True)
    with line:

        def after_iteration() -> Action:
            seconds = time.perf_counter() - start
            done = solver.iter - line.initial
            line.set_postfix_str(
                f"loss {solver.smoothed_loss:.4g}, lr {solver.lr:.3g}, {images * done / seconds:.0f} images/s, "
                f"{(_waited(solver) - waited) / seconds:.1%} waiting for data",
                refresh=False,
            )
            line.update(solver.iter - line.n)
            return asked()

        handler = _Above(line)
        log.addHandler(handler)
        solver.requested_action = after_iteration
        try:
            yield
        finally:
            solver.requested_action = asked
            log.removeHandler(handler)


def _images(solver: Solver) -> int:
    """Images of an iteration: the extent of the first blob's first axis, iter_size times."""
    shape = next((blob.shape for blob in solver.net.blobs.values()), ())
    return (shape[0] if shape else 1) * solver.param.iter_size


def _waited(solver: Solver) -> float:
    return sum(layer.waited for layer in solver.net.execution.layers)


class _Above(logging.Handler):
    """Writes what should be read above the line, and warnings."""

    def __init__(self, line: Any) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's text."""
        if record.levelno >= logging.WARNING or getattr(record, "place", "") in _TOLD:
            self._line.write(record.getMessage(), file=self._line.fp)
