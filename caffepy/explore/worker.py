"""One thread that all passes run on, so that the page is served meanwhile and nets see one request at a time."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import Request

T = TypeVar("T")


class Dropped(Exception):
    """Nobody waits for this any more."""


class Worker:
    """Runs one thing after the other. What nobody waits for any more is not begun, or told to stop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "caffepy-explore")

    async def run(self, request: Request, work: Callable[[], T]) -> T:
        """The result of `work`, or Dropped as soon as the client has gone."""
        future = asyncio.wrap_future(self._pool.submit(work))
        gone: asyncio.Future[Any] = asyncio.ensure_future(_gone(request))
        waited: set[asyncio.Future[Any]] = {future, gone}
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                raise Dropped
            return future.result()
        finally:
            gone.cancel()
            future.cancel()

    async def follow(self, work: Callable[[Callable[[], None]], T]) -> AsyncIterator[int | T]:
        """What `work` says in between, how often it has called what it is given, and its result at the end.

        When whoever iterates stops, the next such call raises Dropped in `work`.
        """
        loop, said, stop = asyncio.get_running_loop(), asyncio.Queue[Any](), threading.Event()
        steps = 0

        def progress() -> None:
            nonlocal steps
            if stop.is_set():
                raise Dropped
            steps += 1
            loop.call_soon_threadsafe(said.put_nowait, steps)

        def whole() -> T:
            if stop.is_set():
                raise Dropped
            return work(progress)

        future = asyncio.wrap_future(self._pool.submit(whole))
        future.add_done_callback(lambda _: said.put_nowait(None))
        try:
            while (step := await said.get()) is not None:
                yield step
            yield future.result()
        finally:
            stop.set()
            future.cancel()

    def close(self) -> None:
        """Finish what runs; drop the rest."""
        self._pool.shutdown(cancel_futures=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
