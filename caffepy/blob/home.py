"""What a storage expects of memory away from the host's plain array that can hold the same values."""

import os
import threading
from typing import Any, Protocol

from numpy.typing import NDArray

MOVING = threading.Lock()
"""Held while values are moved away from the host: who wants them there waits, and so does who forks."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=MOVING.acquire, after_in_parent=MOVING.release, after_in_child=MOVING.release)


class Home(Protocol):
    """Memory away from the host's plain array that can hold the same values."""

    def upload(self, host: NDArray[Any]) -> None:
        """Take the values from the host's array."""

    def download(self, host: NDArray[Any]) -> None:
        """Put the values into the host's array."""

    def take(self, other: "Home") -> bool:
        """Take the values from that home, without the host's help; whether it can."""


class Move(Protocol):
    """Brings values from the host's array into a home, and gives the array's memory back on the way."""

    def run(self) -> None:
        """Do what has not been done of it."""


class Receiver(Home, Protocol):
    """A home that values can move to, so that the host has them no longer."""

    def move(self, host: NDArray[Any]) -> Move:
        """How they would, from the host's array; nothing is done yet."""
