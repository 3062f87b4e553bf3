"""A net's update as one operation: histories, multipliers, and where on a GPU the weights are."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from caffepy import device
from caffepy.blob import Blob
from caffepy.blob.storage import Ints, SyncedArray, Trace
from caffepy.errors import SolverError
from caffepy.layer import State
from caffepy.net import Net
from caffepy.proto.caffe_pb2 import SolverParameter
from caffepy.solver import rules
from caffepy.solver.rules import CHUNK, Rule, Weights
from caffepy.solver.weights import Learnable, learnable


class Update:
    """Updates the weights from their diffs: a pass for `Net.run`, or behind a backward pass.

    Blobs of lr_mult 0 are left out as long as Caffe's arithmetic would change neither them nor their history.
    """

    def __init__(self, net: Net, rule: Rule, param: SolverParameter) -> None:
        self.rule = rule
        self.weights = learnable(net)
        self.histories = [[Blob(weight.blob.shape) for weight in self.weights] for _ in range(rule.histories)]
        """The blobs of a snapshot's history: all of the first kind, then all of the second, as Caffe lists them."""
        self.clips = False
        self._active = self._choose(param)
        self._trace = Trace()
        self._placed: tuple[device.Device, list[SyncedArray]] | None = None
        self._numbers, self._multipliers, self._sums = (State(np.float32) for _ in range(3))
        self._addresses, self._chunks = State(np.int32), State(np.int32)
        self._clipping = SyncedArray()
        self._clipping.host(2)[:] = 1, 0
        self._itself = object()

    def set(self, param: SolverParameter, iteration: int, rate: float) -> None:
        """Take the settings as they stand for this iteration. Raises SolverError for what Caffe stops at."""
        if self.clips and param.clip_gradients < 0:
            self._clipping.host(2)[:] = 1, 0
        self.clips = param.clip_gradients >= 0
        self._active = self._choose(param)
        with np.errstate(all="ignore"):
            one = np.float64(1)
            correction = np.sqrt(one - param.momentum2 ** (iteration + 1)) / (one - param.momentum ** (iteration + 1))
            normalize = one / param.iter_size
        second = param.rms_decay if self.rule is rules.RULES["RMSProp"] else param.momentum2
        given = (rate, param.momentum, second, param.delta, normalize, correction, param.clip_gradients)
        _set(self._numbers, given)
        _set(self._multipliers, np.ravel([self._multipliers_of(self.weights[i], param) for i in self._active]))

    @property
    def variant(self) -> tuple[object, ...]:
        """What tells apart passes that launch different operations."""
        return self._itself, self.clips, len(self._active)

    def prepare(self) -> None:
        """Write down where the weights are, before a pass on the running device."""
        running = device.current()
        if isinstance(running, device.Cpu):
            return
        placed = running, [storage for i in self._active for storage, _ in self._storages(i)]
        if placed == self._placed and self._trace.stands():
            return
        self._trace = Trace()
        with self._trace:
            blobs = self._blobs()
        chunks = _chunks([blob.data.size for blob in blobs])
        addresses = np.array([[array.data.ptr for array in blob] for blob in blobs], np.int64)
        _set(self._addresses, addresses.view(np.int32).ravel())
        _set(self._chunks, chunks.ravel())
        self._sums.shape = (max(1, len(chunks)),)
        self._placed = placed

    def run(self) -> None:
        """Update the weights; clip their diffs before if that is set."""
        blobs, addresses, chunks = self._blobs(), self._addresses.array, self._chunks.array
        numbers, clipping = self._numbers.array, self._clipping.array(2, "update")
        if self.clips:
            rules.clip_diffs(blobs, addresses, chunks, numbers, self._sums.array, clipping)
        self.rule.update(blobs, addresses, chunks, self._multipliers.array, numbers, clipping)

    @property
    def clipped(self) -> tuple[float, float]:
        """What the diffs were multiplied by in the last update, and their norm before."""
        factor, norm = self._clipping.read_host(2)
        return float(factor), float(norm)

    def clear(self) -> None:
        """Set the diffs to zero, as an operation."""
        rules.clear_diffs(self._blobs(), self._addresses.array, self._chunks.array)

    def _choose(self, param: SolverParameter) -> list[int]:
        return [i for i, weight in enumerate(self.weights) if not self._idle(i, weight, param)]

    def _idle(self, index: int, weight: Learnable, param: SolverParameter) -> bool:
        return (
            weight.lr_mult == 0
            and not weight.differentiated
            and (self.rule.linear or param.weight_decay * weight.decay_mult == 0)
            and not any(history[index].data_storage.generation for history in self.histories)
        )

    def _multipliers_of(self, weight: Learnable, param: SolverParameter) -> tuple[float, float, float]:
        decay = param.weight_decay * weight.decay_mult
        if decay and param.regularization_type not in ("L1", "L2"):
            raise SolverError(f"regularization_type: {param.regularization_type!r} is unknown; give L1 or L2")
        l1 = param.regularization_type == "L1"
        return weight.lr_mult, 0 if l1 else decay, decay if l1 else 0

    def _blobs(self) -> list[Weights]:
        return [
            Weights(*(storage.array(count, "update") for storage, count in self._storages(i))) for i in self._active
        ]

    def _storages(self, index: int) -> list[tuple[SyncedArray, int]]:
        """Where data, diff and histories are; a rule with one history is given it twice."""
        blob = self.weights[index].blob
        histories = [history[index].data_storage for history in (self.histories[0], self.histories[-1])]
        return [(storage, blob.count) for storage in (blob.data_storage, blob.diff_storage, *histories)]


class Clearing:
    """Sets the diffs that an update uses to zero: a pass for `Net.run`."""

    def __init__(self, update: Update) -> None:
        self._update = update

    @property
    def variant(self) -> tuple[object, ...]:
        """What tells apart passes that launch different operations."""
        return "clear", *self._update.variant

    def prepare(self) -> None:
        """Write down where the weights are."""
        self._update.prepare()

    def run(self) -> None:
        """Call the operation."""
        self._update.clear()


def _chunks(sizes: Iterable[int]) -> Ints:
    """For each block of a launch the blob, its first element, and how many it updates."""
    return np.array(
        [(i, start, min(CHUNK, size - start)) for i, size in enumerate(sizes) for start in range(0, size, CHUNK)],
        np.int32,
    ).reshape(-1, 3)


def _set(state: State, values: ArrayLike) -> None:
    """Write values from the host, if they are others than before."""
    array = np.asarray(values)
    with np.errstate(over="ignore"):
        array = array.astype(np.int32 if array.dtype == np.int32 else np.float32)
    if state.shape != array.shape or not np.array_equal(state.host, array, equal_nan=True):
        state.shape = array.shape
        state.set(array)
