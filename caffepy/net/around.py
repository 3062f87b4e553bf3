"""What others run around a net's passes: callbacks at each layer, operations behind the last, memory lent before."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

Callback = Callable[[int], object]


class Ending(Protocol):
    """Operations of a caller's that run as a pass of their own, or behind a backward pass and captured with it."""

    @property
    def variant(self) -> tuple[object, ...]:
        """What tells apart runs that launch different operations."""

    def prepare(self) -> None:
        """What the host does before each run."""

    def run(self) -> None:
        """Call the operations."""


@dataclass(frozen=True)
class Callbacks:
    """What is called with a layer's index around its passes."""

    before_forward: list[Callback] = field(default_factory=list)
    after_forward: list[Callback] = field(default_factory=list)
    before_backward: list[Callback] = field(default_factory=list)
    after_backward: list[Callback] = field(default_factory=list)


class Turns(Protocol):
    """Blobs that take turns in the same memory."""

    def settle(self, execution: Any) -> None:
        """Give them their places, as the shapes are now."""

    def check_start(self, execution: Any, start: int) -> None:
        """Raise StateError where a pass cannot begin at this layer."""
