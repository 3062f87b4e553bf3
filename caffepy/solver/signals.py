"""Signals as requests: what Ctrl-C and a hangup ask of a training run (Caffe: util/signal_handler.cpp)."""

import signal
from types import FrameType
from typing import Self

from caffepy.solver.solver import Action


class Signals:
    """`with Signals(sigint="stop", sighup="snapshot") as signals:` sets handlers; the former come back at the end.

    Calling it gives what was asked for since the last call: a solver's `requested_action`. "none" ignores a signal.
    Only the main thread may set handlers.
    """

    def __init__(self, sigint: Action = "stop", sighup: Action = "snapshot") -> None:
        names: dict[str, Action] = {"SIGHUP": sighup, "SIGINT": sigint}  # in Caffe's order
        self._effects = {getattr(signal, name): effect for name, effect in names.items() if hasattr(signal, name)}
        self._came = dict.fromkeys(self._effects, False)
        self._before: dict[int, object] = {}

    def __call__(self) -> Action:
        for number, effect in self._effects.items():
            if self._came[number]:
                self._came[number] = False
                return effect
        return "none"

    def __enter__(self) -> Self:
        for number in self._effects:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came[number] = True
