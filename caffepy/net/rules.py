"""Rules: what runs backward through a layer in place of its derivative, while `net.rules(...)` says so."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from caffepy.blob import Arrays, Blob, BlobVec, Shape, SyncedArray
from caffepy.graph import Wiring
from caffepy.layer import Layer
from caffepy.layers.basis.elementwise import copy_forward

Reads = tuple[Literal["bottom", "top"], ...]


class Memory:
    """What the rules of a net have in common: scratch memory by name, and bottoms kept in forward by layer."""

    def __init__(self) -> None:
        self._scratch: dict[str, tuple[SyncedArray, SyncedArray]] = {}
        self._kept: dict[int, SyncedArray] = {}

    def scratch(self, name: str, shape: Shape) -> Blob:
        """A blob of that shape; what an earlier layer left in it is gone."""
        blob = Blob(shape)
        stored = self._scratch.setdefault(name, (blob.data_storage, blob.diff_storage))
        blob.data_storage, blob.diff_storage = stored
        return blob

    def keep(self, layer: int, bottom: Arrays) -> None:
        """Copy the data of the layer's bottom."""
        storage = self._kept.setdefault(layer, SyncedArray())
        data = bottom.data
        copy_forward(data, storage.array(data.size, "overwrite").reshape(data.shape))

    def kept(self, layer: int) -> SyncedArray:
        """Where `keep` copied it to."""
        return self._kept[layer]


@dataclass(frozen=True)
class Step:
    """A layer whose turn in a backward pass it is."""

    layer: Layer
    index: int
    """The layer's, in the net."""
    top: Sequence[Arrays]
    propagate_down: Sequence[bool]
    bottom: Sequence[Arrays]
    memory: Memory


class Rule:
    """What runs in place of a layer's backward. One object may serve many layers; it holds no arrays."""

    reads: ClassVar[Reads] = ("bottom", "top")
    """Which data `backward` reads, as Layer.reads."""

    def reads_of(self, layer: Layer) -> Reads:
        """The same, where it depends on the layer."""
        return self.reads

    def keeps(self, layer: Layer) -> bool:
        """Whether forward is to keep a copy of bottom 0, which the layer or one behind it writes over."""
        return False

    def backward(self, step: Step) -> None:
        """Overwrite the diff of each bottom whose propagate_down is true; launch operations only."""
        raise NotImplementedError


class RuleSet(Protocol):
    """Which rule each layer gets. Equal sets must choose alike: passes are captured and replayed for each."""

    def __hash__(self) -> int: ...

    def choose(self, layers: Sequence[Layer], wiring: Wiring) -> Mapping[int, Rule]:
        """Rules by the layer's index; the others keep their derivatives."""


class ActiveRules:
    """A net's layers under a set of rules."""

    def __init__(self, key: Hashable, layers: Sequence[Layer], rules: Mapping[int, Rule]) -> None:
        self.key, self.rules, self.memory = key, rules, Memory()
        self.keeping = frozenset(i for i, rule in rules.items() if rule.keeps(layers[i]))
        """Layers whose bottom forward keeps."""

    @property
    def forward_key(self) -> Hashable:
        """What tells a forward pass under these rules from others; None where it is the same as without."""
        return self.key if self.keeping else None


@contextmanager
def standing_in(layer: Layer, blobs: Sequence[Blob]) -> Iterator[None]:
    """Let the layer compute with these weights, and no gradients of them."""
    kept = layer.blobs, layer.param_propagate_down
    layer.blobs, layer.param_propagate_down = BlobVec(blobs), [False] * len(blobs)
    try:
        yield
    finally:
        layer.blobs, layer.param_propagate_down = kept
