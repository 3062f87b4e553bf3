"""Weight gradients that wait until somebody looks at one: most scripts never do, and they are half of backward."""

import weakref
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caffepy import device
from caffepy.blob.storage import SyncedArray
from caffepy.errors import ArgumentError, StateError
from caffepy.net.around import Ending
from caffepy.net.execution import Execution
from caffepy.net.gradient import no_weight_gradients
from caffepy.net.lock import PassLock

Steps = Mapping[int, Sequence[bool]]
"""Layers that run backward, in this order, with their propagate_down."""

_WHEN = ("deferred", "always")
_setting = {"when": "deferred"}


def set_param_diffs(when: str) -> None:
    """Say when backward computes weight gradients in nets of phase TEST; TRAIN nets always compute them.

    "deferred"  when a weight's diff is first asked for, and in every pass from then on
    "always"    in every pass
    """
    if when not in _WHEN:
        raise ArgumentError(f"set_param_diffs: {when!r}; give one of {', '.join(map(repr, _WHEN))}")
    _setting["when"] = when


@dataclass(frozen=True)
class _Later:
    """What a backward pass leaves for later."""

    layers: dict[int, list[bool]]
    """With a propagate_down that goes nowhere."""
    needs: tuple[SyncedArray, ...]
    """The memory that their weight gradients are computed from."""


class _Promise:
    """What storages know of a net's weight gradients: little, so that a weight kept by a script keeps no net alive."""

    def __init__(self, owner: "ParamDiffs", lock: PassLock) -> None:
        self._owner, self._lock = weakref.ref(owner), lock
        self.owed = False
        self.lost: str | None = None
        """What has overwritten what was needed."""

    def weight_asked(self, storage: SyncedArray, on_gpu: bool) -> None:
        """Before a weight's diff is handed out."""
        owner = self._owner()
        if owner is not None:
            owner.asked = True
        if self.owed and owner is not None:
            with self._lock:
                owner.settle()
        elif self.owed:
            self.lost = "the end of the net"
        self.check()

    def needed_asked(self, storage: SyncedArray, on_gpu: bool) -> None:
        """Before data or diffs of the net are handed out, which the caller may write to."""
        owner = self._owner()
        if owner is not None:
            owner.keep(storage, on_gpu)

    def check(self) -> None:
        """Raise StateError where weight gradients are lost."""
        if self.lost:
            raise StateError(
                "weight gradients wait until a weight's diff is asked for, in nets of phase TEST, and "
                f"{self.lost} came before that and took away what they are computed from. To have them with every "
                'pass, call caffe.set_param_diffs("always") before, or build the net with phase=TRAIN; '
                "net.clear_param_diffs() starts from zero"
            )


class ParamDiffs:
    """A net's weight gradients: those that a backward pass has left for later, and what they need.

    Layers say by `param_diffs_later` that theirs can wait. What a script may have written to since is computed from
    a copy, made when the array was handed out.
    """

    def __init__(self, execution: Execution, lock: PassLock, *, may_wait: bool) -> None:
        self._execution = execution
        self._may_wait = may_wait
        self.asked = False
        """Whether somebody looks at weights' diffs."""
        self._promise = _Promise(self, lock)
        self._plans: dict[tuple[Hashable, ...], _Later] = {}
        self._pending: list[tuple[_Later, list[int]]] = []
        self._kept: dict[SyncedArray, Any] = {}
        if may_wait:
            for layer in execution.layers:
                if layer.param_diffs_later:
                    for blob in layer.blobs:
                        blob.diff_storage.before_asked = self._promise.weight_asked

    def run(self, steps: Steps, ending: Ending | None = None) -> None:
        """Run these layers backward, and what their weight gradients need later; with an `ending`, nothing waits."""
        if self._pending and (not self._stands() or self._written(steps) & self._needed()):
            self._lose("another pass")
        callbacks = self._execution.callbacks
        watched = callbacks.before_backward or callbacks.after_backward
        if not self._may_wait or self.asked or watched or ending or _setting["when"] == "always":
            self._execution.backward(steps, ending=ending)
            return
        later = self._plan(steps)
        now = {i: down for i, down in steps.items() if i not in later.layers or any(down)}
        with no_weight_gradients([self._execution.layers[i] for i in later.layers]):
            self._execution.backward(now, "backward to bottoms")
        if later.layers and not self._promise.lost:
            self._owe(later)

    def settle(self) -> None:
        """Compute what waits, before weights' diffs are read; raises StateError where it cannot be any more."""
        self.asked = True
        if self._pending and not self._stands():
            self._lose("another pass or a reshape")
        self._promise.check()
        pending, kept = self._pending, self._kept
        if not pending:
            return
        self._lose("an error in computing them")
        replaced = {storage: storage.copied(on_gpu=False) for storage in kept}
        for storage, value in kept.items():
            storage.put(value)
        rules, self._execution.rules = self._execution.rules, None
        try:
            for later, _ in pending:
                self._execution.backward(later.layers, ("weights", *later.layers))
        finally:
            self._execution.rules = rules
        for storage, value in replaced.items():
            storage.put(value)
        self._promise.lost = None

    def clear(self) -> None:
        """Set the diffs of all weights to zero, as a pass; nothing waits any more."""
        layers = self._execution.layers

        def body() -> None:
            for layer in layers:
                for blob in layer.blobs:
                    device.current().fill(blob.diff_storage.array(blob.count, "overwrite"), 0)

        self._execution.replay.run(("clear", *(len(layer.blobs) for layer in layers)), range(len(layers)), body)
        self.forget()

    def forget(self) -> None:
        """Compute nothing that waits now."""
        self._pending, self._kept = [], {}
        self._promise.owed, self._promise.lost = False, None

    def keep(self, storage: SyncedArray, on_gpu: bool) -> None:
        """Copy what is needed later, once."""
        if self._pending and storage not in self._kept and self._stands():
            self._kept[storage] = storage.copied(on_gpu=on_gpu)

    def _owe(self, later: _Later) -> None:
        self._pending.append((later, self._renewed(later)))
        self._promise.owed = True
        for storage in later.needs:
            storage.before_asked = self._promise.needed_asked
            if storage.viewed_on_gpu or (storage.viewed and storage.fresh):
                self.keep(storage, storage.viewed_on_gpu)

    def _lose(self, to: str) -> None:
        self.forget()
        self._promise.lost = to

    def _plan(self, steps: Steps) -> _Later:
        """Which layers' weight gradients can wait: those whose tops' diffs outlive the pass."""
        rules = self._execution.rules
        key = rules and rules.key, *steps
        if key not in self._plans:
            without = rules.rules if rules else ()  # what a rule computes cannot wait
            written: set[SyncedArray] = set()
            layers = {}
            for i in reversed(list(steps)):
                layer = self._execution.layers[i]
                written |= self._written({i: steps[i]})
                tops = {blob.diff_storage for blob in self._tops(i)}
                waits = layer.param_diffs_later and any(layer.param_propagate_down) and i not in without
                if waits and not tops & written:
                    layers[i] = [False] * len(steps[i])
            self._plans[key] = _Later(layers, self._needs(layers))
        return self._plans[key]

    def _needs(self, layers: Steps) -> tuple[SyncedArray, ...]:
        needs: dict[SyncedArray, None] = {}
        for i in layers:
            needs.update((blob.diff_storage, None) for blob in self._tops(i))
            for side in self._execution.layers[i].param_reads:
                blobs = self._bottoms(i) if side == "bottom" else self._tops(i)
                needs.update((blob.data_storage, None) for blob in blobs)
        return tuple(needs)

    def _needed(self) -> set[SyncedArray]:
        return {storage for later, _ in self._pending for storage in later.needs}

    def _written(self, steps: Steps) -> set[SyncedArray]:
        return {
            blob.diff_storage
            for i, propagate_down in steps.items()
            for blob, runs in zip(self._bottoms(i), propagate_down, strict=True)
            if runs
        }

    def _stands(self) -> bool:
        """Whether no forward pass and no reshape came between."""
        return all(
            self._renewed(later) == renewed
            and all(map(self._execution.is_settled, later.layers))
            and self._needs(later.layers) == later.needs
            for later, renewed in self._pending
        )

    def _renewed(self, later: _Later) -> list[int]:
        return self._execution.renewed(later.layers)

    def _bottoms(self, i: int) -> list[Any]:
        return [self._execution.blobs[b] for b in self._execution.wiring.bottoms[i]]

    def _tops(self, i: int) -> list[Any]:
        return [self._execution.blobs[t] for t in self._execution.wiring.tops[i]]
