"""The library's objects: how elements lie in memory, memory, and primitives bound to it."""

import ctypes
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffepy.device.onednn.library import Dims, Handle, Library, load
from caffepy.device.onednn.work import is_small
from caffepy.errors import DeviceError

FLOAT, BYTE = 3, 6
_ANY = 1
_QUERY_IMPLEMENTATION = 8
_DIMS, _PADDED, _STRIDES, _BLOCKS, _BLOCKED_AXES, _AXES, _NUM_BLOCKS = 257, 260, 14, 264, 265, 256, 263
_OFFSET = 259
SCRATCHPAD = 80
ALIGNMENT = 64
MOST_AXES = 5
"""The library takes 12, but its batch normalization writes out of bounds from 6 on."""


@functools.cache
def library() -> Library:
    """The loaded library. Raises DeviceError where there is none."""
    found = load()
    if isinstance(found, str):
        raise DeviceError(found)
    return found


def dims(values: Sequence[int]) -> Any:
    """As the C interface wants them."""
    return Dims(*values)


class _Owned:
    """A handle that is given back with its owner; the function for that is kept, for the interpreter's last moments."""

    __slots__ = ("_destroy", "handle")

    def __init__(self, kind: str, handle: Handle | None = None) -> None:
        self.handle = handle or Handle()
        self._destroy: Callable[[Handle], object] = getattr(library().c, f"dnnl_{kind}_destroy")

    def __del__(self) -> None:
        if self.handle:
            self._destroy(self.handle)


class Layout(_Owned):
    """A shape and how its elements lie in memory."""

    __slots__ = ("_key", "shape")

    def __init__(self, handle: Handle, shape: Sequence[int]) -> None:
        super().__init__("memory_desc", handle)
        self.shape = tuple(shape)
        self._key: tuple[object, ...] | None = None

    @property
    def size(self) -> int:
        """In bytes."""
        return int(library().c.dnnl_memory_desc_get_size(self.handle))

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal layouts."""
        if self._key is None:
            axes = self._ints(_PADDED, len(self.shape)), self._ints(_STRIDES, len(self.shape))
            number = ctypes.c_int()
            library().c.dnnl_memory_desc_query(self.handle, _NUM_BLOCKS, ctypes.byref(number))
            blocks = self._ints(_BLOCKS, number.value), self._ints(_BLOCKED_AXES, number.value)
            self._key = (self.shape, *axes, *blocks, self.size)
        return self._key

    @property
    def plain(self) -> bool:
        """Whether elements follow one another as in a C-contiguous array."""
        return bool(self.key == contiguous(self.shape).key)

    @property
    def block(self) -> int:
        """How far apart along the first axis the layout can be cut."""
        found: Any = self.key
        blocks, axes = found[3:5]
        return math.prod(size for size, axis in zip(blocks, axes, strict=True) if axis == 0)

    def part(self, shape: Sequence[int], offset: Sequence[int]) -> "Layout":
        """Of a piece of the shape. Raises DeviceError where blocks would be cut."""
        handle, c = Handle(), library().c
        library().check(
            c.dnnl_memory_desc_create_submemory(ctypes.byref(handle), self.handle, dims(shape), dims(offset))
        )
        return Layout(handle, shape)

    def inside(self, shape: Sequence[int], first: int) -> tuple["Layout", int]:
        """Of the channels from the `first` on, and the byte where they begin, if their elements lie together.

        Raises DeviceError where they do not, or blocks would be cut.
        """
        part, alone = self.part(shape, (0, first, *(0,) * (len(shape) - 2))), self.of(shape)
        axes: list[Any] = [alone.key[1], part.key[2], alone.key[2]]
        if any(mine != own for extent, mine, own in zip(*axes, strict=True) if extent > 1):
            raise DeviceError(f"oneDNN: channels {first} to {first + shape[1]} of {self} do not lie together")
        offset = ctypes.c_int64()
        library().c.dnnl_memory_desc_query(part.handle, _OFFSET, ctypes.byref(offset))
        return alone, 4 * offset.value

    def of(self, shape: Sequence[int]) -> "Layout":
        """The same arrangement, axis by axis, of another shape: blocks and order of the axes are kept."""
        shape = tuple(shape)
        _, _, strides, blocks, axes, _ = self.key
        return _arranged(shape, strides, blocks, axes)

    def bytes(self) -> "Layout":
        """The same arrangement of bytes, from 0 to 255, in place of floats."""
        _, _, strides, blocks, axes, _ = self.key
        return _arranged(self.shape, strides, blocks, axes, BYTE)

    def _ints(self, what: int, number: int) -> tuple[int, ...]:
        found = Handle()
        library().c.dnnl_memory_desc_query(self.handle, what, ctypes.byref(found))
        if not found or not number:
            return ()
        return tuple(ctypes.cast(found, ctypes.POINTER(ctypes.c_int64))[:number])

    def __repr__(self) -> str:
        return f"Layout{self.key}"


@functools.lru_cache(maxsize=4096)
def contiguous(shape: tuple[int, ...]) -> Layout:
    """As a C-contiguous array's; a number is an array of one element, axes behind the fourth are one."""
    shape = shape or (1,)
    if len(shape) > MOST_AXES:
        shape = (*shape[: MOST_AXES - 1], math.prod(shape[MOST_AXES - 1 :]))
    strides = [1]
    for extent in reversed(shape[1:]):
        strides.insert(0, strides[0] * extent)
    return strided(shape, tuple(strides))


@functools.lru_cache(maxsize=4096)
def strided(shape: tuple[int, ...], strides: tuple[int, ...], kind: int = FLOAT) -> Layout:
    """With these steps, in elements."""
    handle, c = Handle(), library().c
    library().check(
        c.dnnl_memory_desc_create_with_strides(ctypes.byref(handle), len(shape), dims(shape), kind, dims(strides))
    )
    return Layout(handle, shape)


@functools.lru_cache(maxsize=4096)
def chosen(shape: tuple[int, ...]) -> Layout:
    """The primitive chooses."""
    return tagged(shape, _ANY)


def tagged(shape: Sequence[int], tag: int, kind: int = FLOAT) -> Layout:
    """By the number of a format in the library."""
    handle = Handle()
    library().check(
        library().c.dnnl_memory_desc_create_with_tag(ctypes.byref(handle), len(shape), dims(shape), kind, tag)
    )
    return Layout(handle, shape)


@functools.lru_cache(maxsize=4096)
def _arranged(
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    blocks: tuple[int, ...],
    axes: tuple[int, ...],
    kind: int = FLOAT,
) -> Layout:
    if not blocks:
        order = sorted(range(len(shape)), key=lambda axis: -strides[axis])
        steps, step = [0] * len(shape), 1
        for axis in reversed(order):
            steps[axis] = step
            step *= shape[axis]
        return strided(shape, tuple(steps), kind)
    wanted = blocks, axes
    for tag in range(2, 400):
        try:
            layout = tagged(shape, tag, kind)
        except DeviceError:
            continue
        if layout.key[3:5] == wanted and _ordered(layout, strides):
            return layout
    raise DeviceError(f"oneDNN: no format of {len(shape)} axes has blocks {blocks} of axes {axes}")


def _ordered(layout: Layout, strides: tuple[int, ...]) -> bool:
    found: Any = layout.key[2]
    return sorted(range(len(strides)), key=lambda a: -found[a]) == sorted(
        range(len(strides)), key=lambda a: -strides[a]
    )


def empty(count: int) -> NDArray[np.uint8]:
    """So many bytes of zeros that begin where the widest registers like it."""
    raw = np.zeros(count + ALIGNMENT, np.uint8)
    start = -address(raw) % ALIGNMENT
    return raw[start : start + count]


def address(array: NDArray[Any]) -> int:
    """Of the array's first element."""
    found: int = array.__array_interface__["data"][0]
    return found


class Memory(_Owned):
    """A layout over bytes: its own, or those at an address, which `keep` keeps alive."""

    __slots__ = ("__weakref__", "address", "keep", "layout")

    def __init__(self, layout: Layout, at: int | None = None, keep: object = None) -> None:
        if at is None:
            keep = empty(layout.size)
            at = address(keep)
        super().__init__("memory")
        self.layout, self.address, self.keep = layout, at, keep
        library().check(
            library().c.dnnl_memory_create(ctypes.byref(self.handle), layout.handle, library().engine, self.address)
        )

    def array(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """Its own bytes as a NumPy array, for contiguous layouts."""
        assert isinstance(self.keep, np.ndarray)
        found: NDArray[np.float32] = self.keep[: 4 * math.prod(shape)].view(np.float32).reshape(tuple(shape))
        return found

    def viewed(self, layout: Layout, start: int = 0) -> "Memory":
        """The same bytes, or those from `start` on, in another layout."""
        if isinstance(self.keep, Memory):
            return self.keep.viewed(layout, self.address - self.keep.address + start)
        return Memory(
            layout, self.address + start, self.keep[start:] if isinstance(self.keep, np.ndarray) else self.keep
        )

    def place(self, at: int, keep: object) -> None:
        """Let the bytes be those at that address, which `keep` keeps alive."""
        library().check(library().c.dnnl_memory_set_data_handle(self.handle, ctypes.c_void_p(at)))
        self.address, self.keep = at, keep


class _Arg(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_int), ("memory", ctypes.c_void_p))


class Call:
    """A primitive bound to its memories.

    run       runs it, with as many threads as the library may use then, and gives 0 or the library's status
    threads   how many that must be: those that the primitive was made for
    """

    __slots__ = ("_arguments", "_keep", "name", "run", "threads")

    def __init__(self, primitive: "Primitive", memories: Mapping[int, Memory | None]) -> None:
        given = [(index, memory) for index, memory in memories.items() if memory is not None]
        self._arguments = (_Arg * len(given))(*[_Arg(index, memory.handle) for index, memory in given])
        self._keep = primitive, given
        self.name, self.threads = primitive.kind, primitive.threads
        c, at = library().c, ctypes.addressof(self._arguments)
        self.run = functools.partial(
            c.dnnl_primitive_execute, primitive.handle, library().stream, len(given), ctypes.c_void_p(at)
        )

    def __call__(self) -> None:
        """Run it by itself. Raises DeviceError if it does not succeed."""
        with library().using(self.threads):
            library().check(self.run())


class _Description(_Owned):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("primitive_desc")


class Primitive(_Owned):
    """One of the library's operations for certain layouts; scratch memory is the caller's.

    It belongs to a number of threads: as many as the library may use when it is made, one if its work is small.
    """

    __slots__ = ("_keep", "description", "kind", "threads")

    def __init__(self, kind: str, *args: Any) -> None:
        super().__init__("primitive")
        self.kind, self.description = kind, _Description()
        shapes = [a.shape for a in args if isinstance(a, Layout)]
        small = is_small(shapes, product=kind.startswith(("convolution", "inner_product")))
        self.threads = 1 if small else library().threads
        given = [a.description if isinstance(a, Primitive) else a for a in args]
        given = [a.handle if isinstance(a, _Owned) else ctypes.c_float(a) if isinstance(a, float) else a for a in given]
        create = getattr(library().c, f"dnnl_{kind}_primitive_desc_create")
        with library().using(self.threads):
            library().check(create(ctypes.byref(self.description.handle), *given))
            library().check(library().c.dnnl_primitive_create(ctypes.byref(self.handle), self.description.handle))
        self._keep = args

    def layout(self, query: int) -> Layout | None:
        """The layout that was chosen, None where there is no such memory."""
        c = library().c
        found = c.dnnl_primitive_desc_query_md(self.description.handle, query, 0)
        number, extents = ctypes.c_int(), Handle()
        c.dnnl_memory_desc_query(found, _AXES, ctypes.byref(number))
        if not number.value:
            return None
        c.dnnl_memory_desc_query(found, _DIMS, ctypes.byref(extents))
        handle = Handle()
        library().check(c.dnnl_memory_desc_clone(ctypes.byref(handle), found))
        return Layout(handle, ctypes.cast(extents, ctypes.POINTER(ctypes.c_int64))[: number.value])

    @property
    def implementation(self) -> str:
        """The library's name for how it does it."""
        text = ctypes.c_char_p()
        library().c.dnnl_primitive_desc_query(self.description.handle, _QUERY_IMPLEMENTATION, 0, ctypes.byref(text))
        return (text.value or b"").decode()


class Attributes(_Owned):
    """What is done to a primitive's result before it is written; scratch memory is given by who runs it."""

    __slots__ = ()

    def __init__(
        self, *, add: bool = False, slope: float | None = None, binary: Sequence[tuple[int, Layout]] = ()
    ) -> None:
        super().__init__("primitive_attr")
        c = library().c
        library().check(c.dnnl_primitive_attr_create(ctypes.byref(self.handle)))
        library().check(c.dnnl_primitive_attr_set_scratchpad_mode(self.handle, 1))
        if not (add or slope is not None or binary):
            return
        steps = Handle()
        library().check(c.dnnl_post_ops_create(ctypes.byref(steps)))
        if add:
            library().check(c.dnnl_post_ops_append_sum(steps, 1.0, 0, 0))
        for algorithm, layout in binary:
            library().check(c.dnnl_post_ops_append_binary(steps, algorithm, layout.handle))
        if slope is not None:
            library().check(c.dnnl_post_ops_append_eltwise(steps, 0x20, slope, 0.0))
        library().check(c.dnnl_primitive_attr_set_post_ops(self.handle, steps))
        c.dnnl_post_ops_destroy(steps)
