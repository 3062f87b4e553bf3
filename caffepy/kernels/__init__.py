"""Operations: one declaration, two bodies, NumPy's and CUDA's, called alike.

    @kernel("relu.cu", per="top_data")
    def relu_forward(bottom_data: Floats, top_data: Floats, *, negative_slope: float) -> None: ...

On NumPy arrays the Python body runs; it is the CPU engine and the definition. On device arrays the kernel of the same
name in relu.cu, in a room of kernels/, is launched with the same arguments:

    positional      its parameters, same names, same order; arrays are pointers, None is a null pointer
    keyword-only    compile-time constants, `constexpr float negative_slope`; a frozen dataclass gives one for each of
                    its fields, a tuple in it one for each element: `kernel_0`, `kernel_1`
    per="top_data"  one thread per element of top_data, whose size goes first, as `int count`; each=4: per 4 elements
    rows="sums"     one block per element of sums, whose size goes first, as `int count`; threads=1024: of that many
    plan=...        a function of the same arguments that gives the launches
"""

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Generic, ParamSpec

import numpy as np

from caffepy import device
from caffepy.blob import Floats, Ints, Weights
from caffepy.device.source import Constant, assemble, parameters
from caffepy.errors import KernelError

P = ParamSpec("P")

ALL: dict[str, "Kernel[Any]"] = {}
THREADS = 256
"""Threads of a block, where no plan says otherwise."""
MOST = 2**31 - 1 - 8 * 1024
"""Elements an array may have on a GPU: kernels count them by int, rounded up to whole blocks."""

_DTYPES: dict[Any, tuple[np.dtype[Any], ...]] = {}
for _annotation, _dtypes in ((Floats, (np.float32,)), (Ints, (np.int32,)), (Weights, (np.float32, np.uint16))):
    _DTYPES[_annotation] = _DTYPES[_annotation | None] = tuple(map(np.dtype, _dtypes))
_KINDS = {"float*": _DTYPES[Floats], "int*": _DTYPES[Ints], "Weight*": _DTYPES[Weights]}
"""By what a kernel's parameter points to."""


@dataclass(frozen=True)
class Launch:
    """One launch of a plan."""

    entry: str
    """The `extern "C" __global__` function."""
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[str | int | float, ...]
    """Names of the operation's arguments, or numbers."""
    constants: Mapping[str, Constant] = field(default_factory=dict)
    """Compile-time constants beside the operation's own."""
    shared_bytes: int = 0
    file: str | None = None
    """Where the function is, if not in the operation's file; then `constants` are all that it is compiled with."""


Plan = Callable[..., Sequence[Launch]]
Source = tuple[str, tuple[tuple[str, Constant], ...]]
"""A kernel file, and the constants it is compiled with."""
Observer = Callable[["Kernel[Any]", Sequence[Any], Mapping[str, Any]], bool]

_local = threading.local()


class Kernel(Generic[P]):
    """An operation of a layer: checks its arrays, then runs the body of the device they are on."""

    def __init__(
        self,
        twin: Callable[P, None],
        file: str,
        per: str | None,
        rows: str | None,
        plan: Plan | None,
        each: int,
        threads: int,
    ):
        functools.update_wrapper(self, twin)
        self.twin, self.file, self.per, self.rows, self.plan = twin, file, per, rows, plan
        self.each, self.threads = each, threads
        self.name = twin.__name__
        body: Any = twin  # read here and not by inspect, which takes ten times as long for each of some two hundred
        code, first = body.__code__, body.__code__.co_argcount
        self.arguments = list(code.co_varnames[:first])
        self.constants = list(code.co_varnames[first : first + code.co_kwonlyargcount])
        self._defaults = dict(body.__kwdefaults__ or {})
        self._dtypes = [_DTYPES.get(body.__annotations__.get(name)) for name in self.arguments]
        if [per, rows, plan].count(None) < 2:
            raise KernelError(f"{self.name}: give one of per, rows and plan")
        if (per or rows) not in (None, *self.arguments):
            raise KernelError(f"{self.name}: {(per or rows)!r} is not one of its arguments {self.arguments}")
        if self.name in ALL:
            raise KernelError(f"operation {self.name!r} is declared twice")
        ALL[self.name] = self

    def __call__(self, *args: P.args, **given: P.kwargs) -> None:
        constants: Any = self._defaults | given
        arrays = [
            (name, dtype, value)
            for name, dtype, value in zip(self.arguments, self._dtypes, args, strict=False)
            if dtype is not None and value is not None
        ]
        on_host = [isinstance(value, np.ndarray) for _, _, value in arrays]
        for name, dtype, value in arrays:
            self._check(name, dtype, value)
        if (laid_out := self.per or self.rows) and not args[self.arguments.index(laid_out)].size:  # type: ignore[attr-defined]
            return
        if (observer := observing()) is not None and not observer(self, args, constants):
            return
        if all(on_host):
            with np.errstate(all="ignore"):  # Caffe and CUDA say nothing of infinities either
                self.twin(*args, **constants)
        elif any(on_host):
            where = ", ".join(
                f"{name} on the {'host' if h else 'GPU'}" for (name, _, _), h in zip(arrays, on_host, strict=True)
            )
            raise KernelError(f"{self.name}: its arrays are not all in one place: {where}")
        else:
            self._launch(args, constants)

    def launches(self, *args: P.args, **constants: P.kwargs) -> Sequence[Launch]:
        """What runs on a GPU for these arguments; arrays need only their `size` and `shape`."""
        if self.plan is not None:
            return self.plan(*args, **constants)
        if not (self.per or self.rows):
            raise KernelError(f"{self.name} has no CUDA body; run it in CPU mode")
        laid_out: Any = args[self.arguments.index(self.per or self.rows or "")]
        count = laid_out.size
        blocks = count if self.rows else -(-count // (self.threads * self.each))
        return [Launch(self.name, (blocks,), (self.threads,), (count, *self.arguments))] if count else []

    def sources(self, *args: P.args, **constants: P.kwargs) -> set["Source"]:
        """The kernel files, with their constants, that have to be compiled for these arguments."""
        own = tuple(flat(constants))
        return {
            (launch.file or self.file, _declared(own, launch.constants)) for launch in self.launches(*args, **constants)
        }

    def work(self, *args: P.args, **constants: P.kwargs) -> tuple[int, int]:
        """Floating-point operations of a product, and bytes read and written, each array's element once.

        A plan that knows better says so by its own `work`; operations that are no products count none.
        """
        if (planned := getattr(self.plan, "work", None)) is not None:
            steps = planned(*args, **constants)
            return sum(step.flops for step in steps), sum(step.bytes for step in steps)
        named = zip(self.arguments, self._dtypes, args, strict=True)
        arrays: list[Any] = [value for name, dtype, value in named if dtype is not None and name != "workspace"]
        return 0, sum(array.dtype.itemsize * array.size for array in arrays if array is not None)

    def _check(self, name: str, dtypes: tuple[np.dtype[Any], ...], value: Any) -> None:
        if not isinstance(value, np.ndarray) and not device.current().is_array(value):
            raise KernelError(
                f"{self.name}: {name} must be an array of {dtypes[0]} on the {device.current().name} device, "
                f"got {type(value).__name__}"
            )
        if value.dtype not in dtypes or not value.flags.c_contiguous:
            raise KernelError(
                f"{self.name}: {name} must be C-contiguous {dtypes[0]}, got {value.dtype} with strides {value.strides}"
            )
        if value.size > MOST and not isinstance(value, np.ndarray):
            raise KernelError(f"{self.name}: {name} has {value.size} elements, on a GPU {MOST} are possible at most")

    def _launch(self, args: Sequence[Any], constants: Mapping[str, Any]) -> None:
        values = dict(zip(self.arguments, args, strict=True))
        own = tuple(flat(constants))
        for launch in self.launches(*args, **constants):
            function = _module(device.current(), *self._source(launch, own)).function(launch.entry)  # type: ignore[arg-type]
            given = [values[a] if isinstance(a, str) else a for a in launch.arguments]
            function(launch.grid, launch.block, self._cast(launch, given), launch.shared_bytes)

    def _source(self, launch: Launch, own: Sequence[tuple[str, Constant]]) -> Source:
        if launch.file is not None:
            return launch.file, _declared((), launch.constants)
        return self.file, _declared(own, launch.constants)

    def _cast(self, launch: Launch, given: Sequence[Any]) -> list[Any]:
        """The arguments as the kernel's own parameters want them; CuPy would pass any pointer, and ints as 64-bit."""
        file = launch.file or self.file
        wanted = parameters(file, launch.entry)
        if [p.name for p in wanted] != self._names(launch):
            raise KernelError(
                f"{self.name}: {launch.entry} in {file} takes {[p.name for p in wanted]}, "
                f"it is launched with {self._names(launch)}"
            )
        cast: list[Any] = []
        for parameter, value in zip(wanted, given, strict=True):
            if parameter.kind == "int":
                cast.append(np.int32(value))
            elif parameter.kind == "float":
                cast.append(np.float32(value))
            elif value is None or value.dtype in _KINDS.get(parameter.kind, ()):
                cast.append(value)
            else:
                raise KernelError(f"{self.name}: {parameter.name} of {launch.entry} is a {parameter.kind}")
        return cast

    def _names(self, launch: Launch) -> list[str]:
        """The parameter names that the launch is for; a number stands under the name the kernel gives it."""
        wanted = parameters(launch.file or self.file, launch.entry)
        if len(wanted) != len(launch.arguments):
            return [str(a) for a in launch.arguments]
        return [a if isinstance(a, str) else p.name for a, p in zip(launch.arguments, wanted, strict=True)]


def kernel(
    file: str | os.PathLike[str],
    *,
    per: str | None = None,
    rows: str | None = None,
    plan: Plan | None = None,
    each: int = 1,
    threads: int = THREADS,
) -> Callable[[Callable[P, None]], Kernel[P]]:
    """Declare an operation by its NumPy body; its CUDA body is in `file`, a name in kernels/ or a whole path."""
    return lambda twin: Kernel(twin, os.fspath(file), per, rows, plan, each, threads)


def flat(constants: Mapping[str, Any]) -> Iterator[tuple[str, Constant]]:
    """Constants by the names that the kernel file knows them by."""
    for name, value in constants.items():
        if is_dataclass(value):
            yield from flat({f.name: getattr(value, f.name) for f in fields(value)})
        elif isinstance(value, tuple):
            yield from flat({f"{name}_{i}": element for i, element in enumerate(value)})
        else:
            yield name, value


def _declared(own: Iterable[tuple[str, Constant]], further: Mapping[str, Constant]) -> tuple[tuple[str, Constant], ...]:
    return tuple(sorted([*own, *further.items()]))


def observing() -> Observer | None:
    """Who is shown this thread's operations now."""
    observer: Observer | None = getattr(_local, "observer", None)
    return observer


@contextmanager
def observed(observer: Observer | None) -> Iterator[None]:
    """Show `observer` every operation that this thread calls: the kernel, arguments, constants. It runs if told so."""
    before = observing()
    _local.observer = observer
    try:
        yield
    finally:
        _local.observer = before


def compile_ahead(body: Callable[[], None]) -> None:
    """Compile side by side what the operations that `body` calls need on the running GPU; they are not run."""
    wanted: dict[Source, None] = {}

    def note(kernel: Kernel[Any], args: Sequence[Any], constants: Mapping[str, Any]) -> bool:
        on_gpu = any(value is not None and not isinstance(value, np.ndarray | int | float) for value in args)
        if on_gpu:
            wanted.update(dict.fromkeys(kernel.sources(*args, **constants)))
        return False

    with observed(note):
        body()
    running = device.current()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda source: _module(running, *source), wanted):  # type: ignore[arg-type]
            pass


@functools.cache
def _module(gpu: "device.Gpu", file: str, constants: tuple[tuple[str, Constant], ...]) -> "device.Module":
    return gpu.compile(assemble(file, dict(constants)), os.path.basename(file))
