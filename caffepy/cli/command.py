"""What every subcommand does: errors as one message, warnings on stderr, calls timed."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import click

from caffepy.errors import CaffeError

T = TypeVar("T")
_OF_CAFFE = ("train", "test", "time", "device_query")
_CAFFES_FLAG = re.compile(r"(?<!\S)(-(solver|model|weights|snapshot|gpu|iterations|phase)|--(solver|model))\b")


class Subcommand(click.Command):
    """A command with --debug. A CaffeError becomes one message on stderr and exit code 1; with --debug, a traceback."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments; flags in Caffe's spelling are told which program takes them."""
        given = " ".join(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            command = (self.name or "").replace("-", "_")
            if command in _OF_CAFFE and _CAFFES_FLAG.search(given):
                where = f"Flags in Caffe's spelling go to the program caffe: caffe {command} ..."
                raise click.UsageError(f"{error.format_message()} {where}", ctx) from error
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        debug = ctx.params.pop("debug")
        try:
            with _warnings_on_stderr():
                return super().invoke(ctx)
        except CaffeError as error:
            if debug:
                raise
            notes = getattr(error, "__notes__", [])
            raise click.ClickException("\n".join([str(error), *notes])) from error


@dataclass(frozen=True)
class Timed(Generic[T]):
    """What a call returned, and wall-clock milliseconds: of its first run, and of the shorter of two.

    The first run also allocates memory and starts the BLAS library's threads.
    """

    value: T
    first_ms: float
    ms: float

    def __str__(self) -> str:
        return f"{self.ms:.1f} ms (first time {self.first_ms:.1f})"


def timed(call: Callable[[], T]) -> Timed[T]:
    """Run the call twice."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        value = call()
        times.append(1000 * (time.perf_counter() - start))
    return Timed(value, times[0], min(times))


@contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """The package's log from WARNING up, unless GLOG_minloglevel has set it up already."""
    log = logging.getLogger("caffepy")
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("Warning: %(message)s"))
    quiet = all(isinstance(other, logging.NullHandler) for other in log.handlers)
    if quiet:
        log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
