"""Data-parallel training: gradients averaged over processes (Caffe: src/caffe/parallel.cpp)."""

from collections.abc import Sequence

from caffepy.parallel.group import Group, Part
from caffepy.solver import Action, Solver
from caffepy.solver.weights import Learnable, learnable

_ACTIONS: tuple[Action, ...] = ("none", "snapshot", "stop")


class GradientMean:
    """Replaces the diffs that a solver updates from by their mean over a group: a callback of pycaffe's.

    Every rank then makes the same update, so weights that are the same once stay so. What one rank is asked for between
    iterations, a snapshot or a stop, all of them are. Call it with a layer's index after that layer's backward pass, as
    `solver.net.after_backward(mean)` does, and means are made while further layers run: layer_wise_reduce.
    """

    def __init__(self, solver: Solver, group: Group) -> None:
        self.group = group
        self._solver = solver
        self._weights = [weight for weight in learnable(solver.net) if weight.differentiated]
        self._by_layer = self._whole_after()
        self._begun: set[int] = set()
        self._asked, self._agreed = solver.requested_action, 0
        solver.requested_action = self._take

    def bcast(self) -> None:
        """Give every rank the weights of rank 0, running sums included."""
        blobs = [blob for layer in self._solver.net.execution.layers for blob in layer.blobs]
        self.group.broadcast([(blob.data_storage, blob.count) for blob in blobs])

    # ---- a solver's callbacks

    def on_start(self) -> None:
        """Before an iteration's first pass."""
        self._begun.clear()

    def on_gradients_ready(self) -> None:
        """Before its update: every diff is the mean when this returns."""
        self._begin([i for i in range(len(self._weights)) if i not in self._begun])
        self.group.end_means()
        self._agreed = self.group.largest(_ACTIONS.index(self._asked()))

    def __call__(self, layer: int) -> None:
        """After a layer's backward pass."""
        if self._solver.param.iter_size == 1:  # else more is added to the diffs
            self._begin(self._by_layer.get(layer, []))

    def _begin(self, indices: Sequence[int]) -> None:
        if indices:
            self.group.begin_mean([_diff(self._weights[i]) for i in indices])
            self._begun.update(indices)

    def _whole_after(self) -> dict[int, list[int]]:
        """By layer the weights whose diff is whole after its backward pass: those that no other layer shares."""
        net = self._solver.net
        shared = {*net.param_owners.values()}
        places = {
            id(blob): i for i, layer in enumerate(net.execution.layers) for j, blob in enumerate(layer.blobs)
            if (i, j) not in shared
        }  # fmt: skip
        found: dict[int, list[int]] = {}
        for number, weight in enumerate(self._weights):
            if id(weight.blob) in places:
                found.setdefault(places[id(weight.blob)], []).append(number)
        return found

    # ---- what is asked for between iterations

    def _take(self) -> Action:
        agreed, self._agreed = self._agreed, 0
        return _ACTIONS[agreed]


def _diff(weight: Learnable) -> Part:
    return weight.blob.diff_storage, weight.blob.count
