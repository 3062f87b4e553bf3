"""What passes over a wired net have to do: Caffe's backward, a gradient's layers, and which data is gone by then."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from caffepy.errors import GraphError
from caffepy.graph import Version, Wiring, param_spec
from caffepy.proto.caffe_pb2 import NetParameter, ParamSpec

# ---- planning backward (Caffe: Net::Init)


@dataclass(frozen=True)
class BackwardPlan:
    """What Net.backward computes."""

    layers: list[bool]
    """Whether the layer runs backward."""
    bottoms: list[list[bool]]
    """Its propagate_down."""
    params: list[list[bool]]
    """Its param_propagate_down."""


@dataclass(frozen=True)
class LayerFacts:
    """What planning needs to know of a layer."""

    loss_weights: list[float]
    blobs: int
    differentiable: list[bool] = field(default_factory=list)
    """By bottom."""


def plan_backward(param: NetParameter, wiring: Wiring, facts: Sequence[LayerFacts]) -> BackwardPlan:
    """Caffe's rule: weights with lr_mult and what lies between them and a loss; everything with force_backward."""
    plan = _needed_by_params(param, wiring, facts)
    _drop_what_no_loss_needs(wiring, facts, plan)
    if param.force_backward:
        for i, fact in enumerate(facts):
            plan.layers[i] = True
            plan.bottoms[i] = [True] * len(fact.differentiable)  # those without a derivative get zeros
            plan.params[i] = [True] * fact.blobs
    return plan


def _needed_by_params(param: NetParameter, wiring: Wiring, facts: Sequence[LayerFacts]) -> BackwardPlan:
    plan = BackwardPlan([], [], [])
    blob_needs = [False] * len(wiring.blobs)
    for i, layer in enumerate(param.layer):
        if layer.propagate_down and len(layer.propagate_down) != len(layer.bottom):
            raise GraphError(
                f"layer {layer.name!r} ({layer.type}): {len(layer.propagate_down)} propagate_down for "
                f"{len(layer.bottom)} bottom(s); give none, or one for each"
            )
        needs = [blob_needs[bottom] for bottom in wiring.bottoms[i]]
        plan.bottoms.append(list(layer.propagate_down) or needs)
        plan.params.append([_learned(param_spec(layer, j)) for j in range(facts[i].blobs)])
        plan.layers.append(any(needs) or any(plan.params[i]))
        if plan.layers[i]:
            for top in wiring.tops[i]:
                blob_needs[top] = True
    return plan


def _learned(spec: ParamSpec) -> bool:
    """Whether the weight's diff is needed; a fork of Caffe lets a prototxt say so, whatever lr_mult is."""
    return spec.param_propagate_down if spec.HasField("param_propagate_down") else spec.lr_mult != 0


def _drop_what_no_loss_needs(wiring: Wiring, facts: Sequence[LayerFacts], plan: BackwardPlan) -> None:
    under_loss: set[int] = set()
    skipped: set[int] = set()
    for i in reversed(range(len(facts))):
        tops = wiring.tops[i]
        contributes = any(w != 0 or top in under_loss for w, top in zip(facts[i].loss_weights, tops, strict=True))
        if plan.layers[i] and all(top in skipped for top in tops):
            plan.layers[i] = False
            plan.bottoms[i] = [False] * len(plan.bottoms[i])
        if contributes:
            under_loss.update(wiring.bottoms[i])
        else:
            plan.layers[i] = False
            plan.bottoms[i] = [False] * len(plan.bottoms[i])
        skipped.update(b for b, needed in zip(wiring.bottoms[i], plan.bottoms[i], strict=True) if not needed)


# ---- planning a gradient


@dataclass(frozen=True)
class GradientPlan:
    """The layers between: each with its propagate_down, from the last to the first."""

    steps: list[tuple[int, list[bool]]]


def plan_gradient(
    wiring: Wiring, facts: Sequence[LayerFacts], injected: Iterable[Version], wrt: Iterable[Version]
) -> GradientPlan:
    """The layers on a differentiable path from a version in `wrt` to a version in `injected`."""
    depends, reaches = set(wrt), set(injected)
    downstream: list[list[bool]] = []
    for i, sources in enumerate(wiring.sources):
        downstream.append([s in depends and d for s, d in zip(sources, facts[i].differentiable, strict=True)])
        if any(downstream[i]):
            depends.update((i, j) for j in range(len(wiring.tops[i])))
    steps = []
    for i in reversed(range(len(wiring.sources))):
        if any((i, j) in reaches for j in range(len(wiring.tops[i]))):
            if any(downstream[i]):
                steps.append((i, downstream[i]))
            reaches.update(s for s, d in zip(wiring.sources[i], facts[i].differentiable, strict=True) if d)
    return GradientPlan(steps)


# ---- memory written over (in place, or in memory that a layer's tops share with its bottom)


@dataclass(frozen=True)
class Overwritten:
    """Data that is gone when the forward pass has ended, and the layer that wrote over it."""

    tops: dict[Version, int]
    """By (layer, top): what the layer wrote."""
    bottoms: dict[Version, int]
    """By (layer, bottom): what the layer read; in place, that layer itself wrote over it."""


def overwritten(wiring: Wiring, memory: Callable[[int], object], writes: Sequence[bool]) -> Overwritten:
    """What no longer stands in memory for a backward pass.

    `memory(blob)` identifies the memory of the blob's data, `writes[layer]` says whether the layer writes its tops.
    """
    writer: dict[object, int] = {}
    read: dict[Version, tuple[object, int]] = {}
    wrote: dict[Version, tuple[object, int]] = {}
    for i, tops in enumerate(wiring.tops):
        for j, bottom in enumerate(wiring.bottoms[i]):
            read[i, j] = memory(bottom), writer[memory(bottom)]
        for top in tops:
            if writes[i]:
                writer[memory(top)] = i
        for j, top in enumerate(tops):
            wrote[i, j] = memory(top), writer[memory(top)]

    def gone(data: dict[Version, tuple[object, int]]) -> dict[Version, int]:
        return {key: writer[place] for key, (place, at) in data.items() if writer[place] != at}

    return Overwritten(gone(wrote), gone(read))
