"""The layer contract, and the table of layer types.

A layer decides what is computed: it reads its parameters in `setup`, its sizes in `reshape`, and calls
operations (caffepy.kernels) in `forward` and `backward`. It never asks which device is running.
"""

import math
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from caffepy.blob import Access, Arrays, Blob, BlobVec, Shape, SyncedArray
from caffepy.errors import CaffeError, LayerError
from caffepy.filler import Filler
from caffepy.limits import most_memory, most_work, too_much, too_much_work
from caffepy.proto.caffe_pb2 import FillerParameter, LayerParameter

Arity = int | tuple[int, int | None]


class LayerTypes(MutableMapping[str, type["Layer"]]):
    """Layer types by name; whoever asks has those of this package imported first."""

    def __init__(self) -> None:
        self.entered: dict[str, type[Layer]] = {}
        """As far as they have been imported."""
        self.import_all: Callable[[], None] | None = None
        self._lock = threading.RLock()

    def _all(self) -> dict[str, type["Layer"]]:
        if self.import_all is not None:
            with self._lock:
                if (import_all := self.import_all) is not None:
                    import_all()
                    self.import_all = None
        return self.entered

    def __getitem__(self, name: str) -> type["Layer"]:
        return self._all()[name]

    def __setitem__(self, name: str, cls: type["Layer"]) -> None:
        self._all()[name] = cls

    def __delitem__(self, name: str) -> None:
        del self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


TYPES = LayerTypes()

L = TypeVar("L", bound="Layer")


def register(type_name: str, *, bottoms: Arity = 1, tops: Arity = 1) -> Callable[[type[L]], type[L]]:
    """Enter a class under its prototxt `type`, with how many bottoms and tops it takes.

    A pair is (fewest, most); most is None where any number is allowed. Raises LayerError where the type is there
    already. docs/add-a-layer.md tells how to write the class.
    """

    def enter(cls: type[L]) -> type[L]:
        types = TYPES.entered if cls.__module__.startswith("caffepy.layers.") else TYPES
        if type_name in types:
            raise LayerError(f"layer type {type_name!r} is registered twice: by {types[type_name]} and by {cls}")
        cls.type, cls.bottoms, cls.tops = type_name, bottoms, tops
        types[type_name] = cls
        return cls

    return enter


def layer_type_list() -> list[str]:
    """The registered types, sorted."""
    return sorted(TYPES)


class State:
    """Memory of a layer's own, on the running device: masks, running sums, what backward needs of forward."""

    __slots__ = ("_access", "_storage", "_whose", "shape")

    def __init__(self, dtype: DTypeLike, whose: str = ""):
        self.shape: Shape = ()
        self._access: Access = "update"
        self._storage = SyncedArray(dtype)
        self._whose = whose  # what errors begin with; the layer itself would be a cycle

    @property
    def bytes(self) -> int:
        """How large it is."""
        return math.prod(self.shape) * np.dtype(self._storage.dtype).itemsize

    @property
    def storage(self) -> SyncedArray:
        """Where it is, flat."""
        return self._storage

    @property
    def array(self) -> Any:
        """The memory in its declared shape and dtype."""
        return self._storage.array(math.prod(self.shape), self._access).reshape(self.shape)

    @property
    def host(self) -> NDArray[Any]:
        """What the memory holds now, on the host, for reading: on a GPU this waits for the pass."""
        return self._storage.read_host(math.prod(self.shape)).reshape(self.shape)

    def set(self, value: ArrayLike) -> None:
        """Write it from the host, before a pass; operations only read it from then on.

        Raises the layer's error for a number that the memory cannot hold.
        """
        self._access = "read"
        try:
            self._storage.host(math.prod(self.shape)).reshape(self.shape)[...] = value
        except OverflowError as error:
            raise LayerError(f"{self._whose}its sizes do not fit 32 bits ({error}); make them smaller") from error


class Layer:
    """What the Net knows of a layer. Subclasses state in their docstring: bottom shapes -> top shapes."""

    type: ClassVar[str]
    bottoms: ClassVar[Arity]
    tops: ClassVar[Arity]

    same_number: ClassVar[bool] = False
    """As many tops as bottoms."""
    in_place: ClassVar[bool] = False
    """A top may be the bottom of the same index."""
    updates_weights: bool = False
    """Forward may write its own weights."""
    verifies: ClassVar[bool] = False
    """It has values to check after a forward pass, see `verify`."""
    is_loss: ClassVar[bool] = False
    """The first top's loss_weight is 1 unless given, and missing tops are made."""

    host: ClassVar[bool] = False
    """In GPU mode, too, its passes get NumPy arrays: for work that is the host's by nature."""
    dynamic: ClassVar[bool] = False
    """The tops' shapes depend on the bottoms' data, see `resolve`."""

    row_bottoms: Sequence[int] = ()
    """Bottoms of whose row i, along axis 0, row i of every top is made, whatever the other rows hold; `reshape` may
    still settle it. A GPU may leave such a layer with more rows than there are."""

    shares: Literal["no", "data", "both"] = "no"
    """Which memory every top has in common with bottom 0, settled by `setup`: the layer then copies nothing."""
    reads: tuple[Literal["bottom", "top"], ...] = ("bottom", "top")
    """Which data backward reads for bottom diffs: overwriting it in place makes backward impossible."""
    param_reads: tuple[Literal["bottom", "top"], ...] = ("bottom",)
    """Which data backward reads for weight diffs."""
    param_diffs_later: ClassVar[bool] = False
    """Weight diffs are made of that data and the tops' diffs alone, and can be computed after the pass."""

    def __init__(self, param: LayerParameter, phase: int):
        self.param = param
        self.name = param.name
        self.phase = phase
        self.blobs = BlobVec()
        self.fillers: list[Filler] = []
        self.param_propagate_down: list[bool] = []
        self._states: dict[str, State] = {}
        self._workspace, self._workspace_count = SyncedArray(), 0
        self.work = 0
        self._check_number("bottom", self.bottoms, len(param.bottom))
        self._check_number("top", self.tops, len(param.top))
        if self.same_number and len(param.bottom) != len(param.top):
            raise self.error(f"give as many tops as bottoms, got {len(param.bottom)} bottoms, {len(param.top)} tops")

    # ---- what a layer type writes

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        """Read the parameters, raise their errors, declare the weights. Called once."""

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        """The tops' shapes; every size, state and workspace is settled here, so that passes allocate nothing."""
        raise NotImplementedError

    def resolve(self, bottom: Sequence[Arrays]) -> Sequence[Shape]:
        """The tops' shapes for these data, if the layer is `dynamic`; called before each of its forward passes.

        The arrays are NumPy's on every device, for reading only. `reshape` gives the shapes before there are data.
        """
        raise NotImplementedError

    def room(self) -> tuple[int, Sequence[Shape]] | None:
        """The axis of the rows, and the tops' shapes with room for as many as there may be; None: not without the host.

        Of a dynamic layer whose `forward` can count rows on a GPU: called without `resolve` before it, it writes how
        many it found to its state "rows". Asked for after `reshape`.
        """
        return None

    def prepare(self) -> None:
        """What the host does before each forward pass, such as drawing a seed; `forward` itself may be replayed."""

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> Sequence[Shape] | None:
        """Write every top's data; never a diff. A `host` layer may return new shapes of the tops."""
        raise NotImplementedError

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """Overwrite the diff of each bottom whose propagate_down is true, add to the weights' diffs.

        Weight diffs only where `param_propagate_down` says so, and before the bottom diffs: in place they share
        memory with the top diffs.
        """
        raise NotImplementedError

    def verify(self) -> None:
        """Raise the layer's error if the values of the last forward pass were wrong; `forward` itself goes on.

        Called when the pass has ended, if `verifies` is true.
        """

    def adopt(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        """The shapes of the weights that a file has for this layer, as they stand for the layer's own.

        Called before they are loaded; a layer may declare weights here that only the file tells of.
        """
        return shapes

    def loaded(self) -> None:
        """Called when weights from a file were copied into the layer's."""

    def differentiable(self, bottom_index: int) -> bool:
        """Whether there is a derivative with respect to this bottom; where not, its diff is zeros."""
        return True

    @property
    def waited(self) -> float:
        """Seconds that its passes have waited for data, if it is a source of some."""
        return 0.0

    # ---- what a layer type may call

    def add_weights(self, shape: Shape, filler: FillerParameter) -> None:
        """Declare the next weight blob; it is filled unless weights are loaded into it."""
        if not math.prod(shape):
            raise self.error(f"its weights have shape {tuple(shape)}, which is no value: a bottom has an axis of 0")
        self.blobs.append(Blob(shape))
        Blob.changes += 1
        self.fillers.append(Filler(filler, shape, self.error))
        self.param_propagate_down.append(True)

    def keep_weights(self, count: int) -> None:
        """Take back the declaration of weight blobs beyond the first `count`."""
        if count < len(self.blobs):
            del self.blobs[count:], self.fillers[count:], self.param_propagate_down[count:]
            Blob.changes += 1

    @property
    def shown(self) -> Any:
        """What a net's `layers` lists for it: itself, unless a user's own object stands behind it."""
        return self

    @property
    def params(self) -> list[Arrays]:
        """The weights as a pass sees them: their diffs are written, their data only by layers that say so."""
        access: tuple[Access, Access] = ("update" if self.updates_weights else "read", "update")
        return [blob.arrays(access, host=self.host) for blob in self.blobs]

    def state(self, name: str, shape: Shape, dtype: DTypeLike = np.float32) -> State:
        """Memory of the layer's own, zero at first; asking again under the same name gives it a new shape."""
        state = self._states.setdefault(name, State(dtype, str(self.error(""))))
        self.afford(math.prod(shape) * np.dtype(dtype).itemsize, f"{name} of shape {shape}")
        state.shape = shape
        return state

    def reserve_workspace(self, count: int) -> None:
        """Ask, in `reshape`, for scratch memory of `count` floats; the layers of a net have it in common."""
        self.afford(4 * count, "its scratch memory")
        self._workspace_count = count

    def reserve_work(self, work: int, table: int = 0) -> None:
        """Say, in `reshape` and before anything is done, what a forward pass has to do that its blobs do not tell.

        work    in multiplications; see limits.Limits
        table   bytes of tables that it makes for that, beyond states and scratch memory

        Raises LayerError where that is more than the limits in force allow.
        """
        self.afford(table, "what it looks up")
        if work > (most := most_work()):
            raise self.error(f"its forward pass {too_much_work(work, most)}")
        self.work = work

    def afford(self, size: int, what: str) -> None:
        """Raise LayerError where so many bytes are more than the limits in force allow, before they are taken."""
        if size > (most := most_memory()):
            raise self.error(f"{what} {too_much(size, most)}")

    @property
    def workspace_bytes(self) -> int:
        """Of the scratch memory that it asked for."""
        return 4 * self._workspace_count

    @property
    def state_bytes(self) -> int:
        """Of memory of its own."""
        return sum(state.bytes for state in self._states.values())

    @property
    def workspace(self) -> Any:
        """The scratch memory, flat; what an earlier call left in it is gone."""
        return self._workspace.array(self._workspace_count, "overwrite")

    @property
    def runs_in_place(self) -> bool:
        """Whether top 0 is bottom 0."""
        return bool(self.param.top) and bool(self.param.bottom) and self.param.top[0] == self.param.bottom[0]

    def error(self, message: str) -> LayerError:
        """An error that names this layer: `raise self.error("...")`."""
        return LayerError(f"layer {self.name!r} ({self.type}): {message}")

    @contextmanager
    def named(self) -> Iterator[None]:
        """Meanwhile, messages of errors begin with this layer's name; their classes stay."""
        try:
            yield
        except CaffeError as error:
            if str(error).startswith(f"layer {self.name!r} "):
                raise
            raise type(error)(str(self.error(str(error)))) from error

    def expect_axes(self, bottom_shapes: Sequence[Shape], index: int, axes: int) -> Shape:
        """Bottom `index`'s shape, after checking its number of axes."""
        shape = bottom_shapes[index]
        if len(shape) != axes:
            raise self.error(f"bottom {self.param.bottom[index]!r} must have {axes} axes, got shape {shape}")
        return shape

    def canonical_axis(self, axis: int, shape: Shape, field: str = "axis") -> int:
        """`axis` counted from the front; negative ones count from the end."""
        if not -len(shape) <= axis < len(shape):
            raise self.error(f"{field}: {axis} is outside bottom 0, whose shape is {shape}")
        return axis % len(shape)

    # ---- what the net calls

    def use_workspace(self, storage: SyncedArray) -> None:
        """Take scratch memory from `storage`."""
        self._workspace = storage

    def fill(self, index: int) -> None:
        """Give weight blob `index` its filler's values."""
        self.fillers[index].fill(self.blobs[index].data)

    def _check_number(self, what: str, arity: Arity, found: int) -> None:
        fewest, most = arity if isinstance(arity, tuple) else (arity, arity)
        if found < fewest or (most is not None and found > most):
            wanted = f"{fewest}" if fewest == most else f"{fewest} or more" if most is None else f"{fewest} to {most}"
            raise self.error(f"takes {wanted} {what} blob(s), the prototxt gives {found}")
