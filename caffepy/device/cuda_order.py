"""What comes after what on a GPU: passes on queues of their own, and what is done before, between and after them."""

import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from caffepy.device.cuda_errors import OnGpu

_NULL = 0  # the null stream: every pass has it wait for its end, it is never destroyed, and never captured


class Queue:
    """A stream that passes run on, and the events that order it against its callers' streams.

    It goes from net to net and is never destroyed: what a net leaves undone is done before the next one's passes, and
    the memory that CuPy keeps for the stream serves the next one, too.
    """

    def __init__(self, cupy: Any) -> None:
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.reached, self.done = (cupy.cuda.Event(disable_timing=True) for _ in range(2))


class Stream:
    """A queue for as long as somebody has use for it."""

    def __init__(self, queue: Queue, idle: list[Queue]) -> None:
        self.queue = queue
        weakref.finalize(self, idle.append, queue).atexit = False


class Order:
    """Of what one GPU does. The caller's streams are CuPy's current one, and PyTorch's where PyTorch is in use."""

    def __init__(self, cupy: Any, index: int, on: OnGpu, around: OnGpu) -> None:
        self._cupy, self._index, self._on, self._around = cupy, index, on, around
        self._thread, self._lock = threading.local(), threading.Lock()
        self._queues: list[Queue] = []
        self._idle: list[Queue] = []
        self._outside: dict[int, Any] = {}
        """By stream, an event behind what was done on it outside of passes."""
        self._null_is_ahead = False
        """Something was done on the null stream that its event is not behind: recorded when some other stream asks."""

    def stream(self) -> Stream:
        """A stream that does not wait for the null stream."""
        with self._on, self._lock:
            if not self._idle:
                self._queues.append(Queue(self._cupy))
                self._idle.append(self._queues[-1])
            return Stream(self._idle.pop(), self._idle)

    @contextmanager
    def ordered(self, stream: Stream) -> Iterator[None]:
        """Run on `stream` what the block launches: after what the caller's streams hold now, before what comes later.

        What comes later on the null stream waits, too, for results are read there by whoever leaves the stream that
        the pass was called on.
        """
        queue = stream.queue
        with self._around:
            callers = [self._cupy.cuda.get_current_stream(), *self._torch_stream()]
            later = {caller.ptr: caller for caller in (*callers, self._cupy.cuda.Stream.null)}
            for caller in callers:
                caller.record(queue.reached)
                queue.stream.wait_event(queue.reached)
            if self._outside or self._null_is_ahead:
                self._wait_for_outside(queue, [caller.ptr for caller in callers])
            outer, self._thread.in_pass = self._in_pass, True
            try:
                with queue.stream:
                    yield
            finally:
                self._thread.in_pass = outer
                queue.stream.record(queue.done)
                for caller in later.values():
                    caller.wait_event(queue.done)

    @contextmanager
    def outside_of_passes(self) -> Iterator[None]:
        """Run what the block does after every pass so far, and before passes to come, on whatever stream they are."""
        with self._on:
            stream = self._cupy.cuda.get_current_stream()
            if self._in_pass or (stream.ptr != _NULL and stream.is_capturing()):
                yield
                return
            others = self._torch_stream()
            for other in others:
                stream.wait_event(other.record())
            if stream.ptr != _NULL:
                self.after_passes()
            yield
            for other in others:
                other.wait_event(stream.record())
            if stream.ptr == _NULL:
                self._null_is_ahead = True
            else:
                with self._lock:
                    self._record_outside(stream)

    def after_passes(self) -> None:
        """Let what comes on the current stream come after every pass so far."""
        with self._on:
            caller = self._cupy.cuda.get_current_stream()
            if caller.ptr == _NULL:
                return
            with self._lock:
                queues = tuple(self._queues)
            for queue in queues:
                caller.wait_event(queue.done)

    @property
    def _in_pass(self) -> bool:
        """Whether this thread is inside of `ordered`."""
        return getattr(self._thread, "in_pass", False)

    def _wait_for_outside(self, queue: Queue, reached: list[int]) -> None:
        """Let the queue, which is behind the streams `reached` already, come after what was done outside of passes."""
        with self._lock:
            if self._null_is_ahead and _NULL not in reached:
                self._null_is_ahead = False
                self._record_outside(self._cupy.cuda.Stream.null)
            self._outside = {place: event for place, event in self._outside.items() if not event.done}
            for event in self._outside.values():
                queue.stream.wait_event(event)

    def _record_outside(self, stream: Any) -> None:
        event = self._outside.setdefault(stream.ptr, self._cupy.cuda.Event(disable_timing=True))
        event.record(stream)

    def _torch_stream(self) -> list[Any]:
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return []
        return [self._cupy.cuda.Stream.from_external(_Foreign(torch.cuda.current_stream(self._index).cuda_stream))]


class _Foreign:
    """A stream of another library by its address; PyTorch's own had no `__cuda_stream__` before 2.8."""

    def __init__(self, address: int) -> None:
        self._address = address

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._address
