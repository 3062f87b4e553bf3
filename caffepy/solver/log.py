"""What a solver logs: Caffe's lines, under the places in Caffe's source that they come from."""

import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from caffepy.device.ranks import solver_rank
from caffepy.pycaffe import Net

_log = logging.getLogger("caffepy")


def say(place: str, text: str, level: int = logging.INFO) -> None:
    """Log a line as Caffe's file and line `place` would, for scripts read these; of parallel solvers the first does."""
    if solver_rank() and level <= logging.INFO:
        return
    _log.log(level, "%s", text, extra={"place": place})


class SmoothedLoss:
    """The mean of the last `count` losses, as Solver::UpdateSmoothedLoss computes it from iteration `start` on."""

    def __init__(self, count: int, start: int) -> None:
        self.value = 0.0
        self._count, self._start = count, start
        self._losses: list[float] = []

    def add(self, loss: float, iteration: int) -> None:
        """Take in the loss of an iteration."""
        if len(self._losses) < self._count:
            self._losses.append(loss)
            self.value += (loss - self.value) / len(self._losses)
        else:
            place = (iteration - self._start) % self._count
            self.value += (loss - self._losses[place]) / self._count
            self._losses[place] = loss


def output_values(net: Net) -> NDArray[np.float64]:
    """All values of a net's outputs, one output after the other."""
    values = [net.blobs[name].read().ravel() for name in net.outputs]
    return np.concatenate(values).astype(np.float64) if values else np.zeros(0)


def output_lines(what: str, net: Net, values: NDArray[np.float64]) -> Iterator[str]:
    """A line for each of them: `    Train net output #0: loss = 1.2 (* 1 = 1.2 loss)`."""
    names = [name for name in net.outputs for _ in range(net.blobs[name].count)]
    for index, (name, value) in enumerate(zip(names, values, strict=True)):
        weight = net.blob_loss_weights[name]
        weighted = f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
        yield f"    {what} net output #{index}: {name} = {value:g}{weighted}"
