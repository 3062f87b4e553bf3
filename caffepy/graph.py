"""A net's definition becomes a graph, in pure functions: filter by state, insert splits, wire, share weights by name.

Layers are named by their index in the net, tops and bottoms by their index in the layer. A blob written in place has
several versions; a version is named by who wrote it: (layer, top).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from caffepy.errors import GraphError, UnknownBlobError, check_name, nearest
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter, NetState, NetStateRule, ParamSpec

Version = tuple[int, int]

AUTOMATIC = "(automatic)"
"""The name of a loss layer's top that the prototxt does not name; nothing can consume it."""


# ---- filtering by state (Caffe: Net::FilterNet, Net::StateMeetsRule)


def filter_net(param: NetParameter, state: NetState) -> NetParameter:
    """A copy of `param` with the layers that `state` (phase, level, stages) includes."""
    kept = NetParameter()
    kept.CopyFrom(param)
    del kept.layer[:]
    kept.layer.extend(layer for layer in param.layer if included(layer, state))
    return kept


def included(layer: LayerParameter, state: NetState) -> bool:
    """Whether `state` includes the layer: it meets an `include` rule, or no `exclude` rule."""
    if layer.include and layer.exclude:
        raise GraphError(f"layer {layer.name!r} has both include and exclude rules; give only one kind")
    if layer.include:
        return any(meets(state, rule) for rule in layer.include)
    return not any(meets(state, rule) for rule in layer.exclude)


def meets(state: NetState, rule: NetStateRule) -> bool:
    """Whether the state has the rule's phase, a level within its bounds, all its stages and none of its not_stages."""
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and set(rule.stage) <= set(state.stage)
        and not set(rule.not_stage) & set(state.stage)
    )


# ---- inserting splits (Caffe: insert_splits.cpp)


def insert_splits(param: NetParameter) -> NetParameter:
    """A copy of `param` in which every blob version has at most one consumer.

    A version with several gets a Split layer `<blob>_<layer>_<top>_split` behind its writer, with a top
    `..._split_<k>` for each consumer. A non-zero loss_weight counts as the first of them: the Split carries it.
    """
    sources = bottom_sources(param)
    uses = Counter(version for layer in sources for version in layer)
    weighted = {(i, j) for i, layer in enumerate(param.layer) for j in range(len(layer.top)) if _weight(layer, j) != 0}
    uses.update(weighted)
    served: Counter[Version] = Counter(version for version in weighted if uses[version] > 1)

    split = NetParameter()
    split.CopyFrom(param)
    del split.layer[:]
    for i, original in enumerate(param.layer):
        layer = split.layer.add()
        layer.CopyFrom(original)
        for j, version in enumerate(sources[i]):
            if uses[version] > 1:
                layer.bottom[j] = f"{_split_name(param, version)}_{served[version]}"
                served[version] += 1
        for j in range(len(layer.top)):
            if uses[i, j] > 1:
                _add_split(split, layer, _split_name(param, (i, j)), j, uses[i, j], _weight(original, j))
    return split


def _weight(layer: LayerParameter, top: int) -> float:
    return layer.loss_weight[top] if top < len(layer.loss_weight) else 0.0


def _split_name(param: NetParameter, version: Version) -> str:
    layer = param.layer[version[0]]
    return f"{layer.top[version[1]]}_{layer.name}_{version[1]}_split"


def _add_split(net: NetParameter, layer: LayerParameter, name: str, top: int, uses: int, weight: float) -> None:
    split = net.layer.add(name=name, type="Split", bottom=[layer.top[top]])
    split.top.extend(f"{name}_{k}" for k in range(uses))
    if weight:
        split.loss_weight.extend([weight] + [0.0] * (uses - 1))
        layer.loss_weight[top] = 0.0


def bottom_sources(param: NetParameter) -> list[list[Version]]:
    """For each layer, the version that each bottom consumes: the last one written before it."""
    last: dict[str, Version] = {}
    sources = []
    for i, layer in enumerate(param.layer):
        for bottom in layer.bottom:
            if bottom not in last:
                raise _unknown_bottom(param, i, bottom, last)
        sources.append([last[bottom] for bottom in layer.bottom])
        last.update((top, (i, j)) for j, top in enumerate(layer.top))
    return sources


def _unknown_bottom(param: NetParameter, index: int, bottom: str, known: Iterable[str]) -> GraphError:
    what = f"layer {param.layer[index].name!r} ({param.layer[index].type}): unknown bottom blob {bottom!r}"
    for later in param.layer[index:]:
        if bottom in later.top:
            return GraphError(
                f"{what}: it is first written by layer {later.name!r}, which does not come before it; layers run in "
                "the order of the prototxt, so move that layer up, or break the cycle"
            )
    return GraphError(f"{what}; no earlier layer has such a top{nearest(bottom, known)}")


# ---- wiring (Caffe: Net::AppendTop, Net::AppendBottom)


@dataclass(frozen=True)
class Wiring:
    """Who reads and writes what; blobs by index into `blobs`."""

    blobs: list[str]
    tops: list[list[int]]
    bottoms: list[list[int]]
    sources: list[list[Version]]
    """The version each bottom consumes."""
    inputs: list[str]
    """Tops of Input layers, in their order."""
    outputs: list[str]
    """Unconsumed tops, in byte order of their names."""

    def blob(self, version: Version) -> int:
        """The blob that the version is one of."""
        return self.tops[version[0]][version[1]]

    def versions(self, blob: int) -> list[Version]:
        """Every version of the blob, in the order they are written."""
        return self._versions[blob]

    def index(self, name: str) -> int:
        """The index of the blob of that name; raises UnknownBlobError, ArgumentError for what is no name."""
        check_name(name, "blob", self.blobs)
        if name not in self._indices:
            raise UnknownBlobError(f"this net has no blob {name!r}{nearest(name, self.blobs)}")
        return self._indices[name]

    @cached_property
    def _versions(self) -> list[list[Version]]:
        found: list[list[Version]] = [[] for _ in self.blobs]
        for i, tops in enumerate(self.tops):
            for j, top in enumerate(tops):
                found[top].append((i, j))
        return found

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.blobs)}


def wire(param: NetParameter) -> Wiring:
    """Wire a net after insert_splits; every top named AUTOMATIC becomes a blob of its own."""
    index: dict[str, int] = {}
    blobs: list[str] = []
    wiring = Wiring(blobs, [], [], bottom_sources(param), [], [])
    available: set[str] = set()
    for i, layer in enumerate(param.layer):
        for bottom in layer.bottom:
            if bottom not in available:
                raise GraphError(
                    f"layer {layer.name!r} ({layer.type}): bottom blob {bottom!r} is already consumed by an earlier "
                    "layer or stands twice among its bottoms; splits must be inserted first"
                )
            available.discard(bottom)
        wiring.bottoms.append([index[bottom] for bottom in layer.bottom])
        tops = []
        for j, top in enumerate(layer.top):
            if top in index and top != AUTOMATIC:
                if not (j < len(layer.bottom) and layer.bottom[j] == top):
                    raise _written_twice(param, i, top)
                tops.append(index[top])
            else:
                tops.append(len(blobs))
                blobs.append(top)
            if top != AUTOMATIC:
                index[top] = tops[-1]
                available.add(top)
        wiring.tops.append(tops)
        if layer.type == "Input":
            wiring.inputs.extend(layer.top)
    wiring.outputs.extend(sorted(available, key=str.encode))
    return wiring


def _written_twice(param: NetParameter, index: int, top: str) -> GraphError:
    layer = param.layer[index]
    earlier = next(other for other in param.layer if top in other.top)
    if any(bottom.startswith(f"{top}_") and "_split_" in bottom for bottom in layer.bottom):
        return GraphError(
            f"layer {layer.name!r} ({layer.type}): runs in place on {top!r}, which another layer consumes as well; "
            f"give this layer a top of its own name"
        )
    return GraphError(
        f"layer {layer.name!r} ({layer.type}): top blob {top!r} is produced by layer {earlier.name!r} already; "
        "give one of them another name (in place, top and bottom must have the same index)"
    )


# ---- shared parameters (Caffe: Net::AppendParam)


def param_spec(layer: LayerParameter, index: int) -> ParamSpec:
    """The layer's ParamSpec for weight blob `index`; the default one where the prototxt gives none."""
    return layer.param[index] if index < len(layer.param) else ParamSpec()


def param_owners(layers: Sequence[LayerParameter], blobs: Sequence[int]) -> dict[tuple[int, int], tuple[int, int]]:
    """For each weight blob (layer, index) that is shared by name, the blob it has its memory from.

    `blobs` is the number of weight blobs of each layer.
    """
    first: dict[str, tuple[int, int]] = {}
    given: dict[tuple[str, str], tuple[int, int]] = {}
    owners = {}
    for i, layer in enumerate(layers):
        if len(layer.param) > blobs[i]:
            raise GraphError(
                f"layer {layer.name!r} ({layer.type}): {len(layer.param)} param entries, but it has {blobs[i]} weight "
                "blob(s); remove the surplus"
            )
        for j in range(blobs[i]):
            name = param_spec(layer, j).name
            if name and name in first:
                owners[i, j] = first[name]
            elif name:
                first[name] = (i, j)
            if name:
                _same_multipliers(layers, given, (i, j))
    return owners


def _same_multipliers(
    layers: Sequence[LayerParameter], given: dict[tuple[str, str], tuple[int, int]], place: tuple[int, int]
) -> None:
    """Raise GraphError unless the multipliers given here are those given before; `given` says where they first were."""
    spec = param_spec(layers[place[0]], place[1])
    for name in ("lr_mult", "decay_mult"):
        if spec.HasField(name):
            before = given.setdefault((spec.name, name), place)
            theirs, ours = getattr(param_spec(layers[before[0]], before[1]), name), getattr(spec, name)
            if theirs != ours:
                raise _mismatch(layers, before, place, name, theirs, ours)


def _mismatch(
    layers: Sequence[LayerParameter],
    owner: tuple[int, int],
    sharer: tuple[int, int],
    what: str,
    ours: float,
    theirs: float,
) -> GraphError:
    return GraphError(
        f"layers {layers[owner[0]].name!r} and {layers[sharer[0]].name!r} share param "
        f"{param_spec(layers[owner[0]], owner[1]).name!r} with different {what}: {ours:g} and {theirs:g}; "
        "make them equal"
    )
