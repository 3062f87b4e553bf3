"""One layer without a net: build it from prototxt text, run it, check its gradient and its manners.

from tests.layers.runner import build, check_gradient, check_manners, fill

case = build('type: "Power" power_param { power: 2 }', [(2, 3)])
case.bottom[0].data[...] = ...
(top,) = case.forward()
case.top[0].diff[...] = ...
(bottom_diff,) = case.backward()
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from google.protobuf import text_format

import caffepy.layers  # noqa: F401  (registers the types)
from caffepy import device
from caffepy.blob import Blob, Floats, Shape, SyncedArray
from caffepy.layer import TYPES, Layer
from caffepy.net.replay import Replay
from caffepy.proto.caffe_pb2 import TEST, LayerParameter
from caffepy.rng import set_random_seed

Where = int | tuple[str, int]
"""A bottom's index, or ("param", index of a weight blob)."""


class Case:
    """A layer, its bottom and top blobs and its weights, wired as the net would wire them."""

    def __init__(self, param: LayerParameter, bottom_shapes: Sequence[Shape], phase: int):
        self.layer: Layer = TYPES[param.type](param, phase)
        self.layer.use_workspace(SyncedArray())
        self.layer.setup(bottom_shapes)
        for index in range(len(self.layer.blobs)):
            self.layer.fill(index)
        self.bottom = [Blob(shape) for shape in bottom_shapes]
        in_place = dict(zip(param.bottom, self.bottom, strict=True))
        self.top = [in_place.get(name, Blob()) for name in param.top]
        self.weights = self.layer.blobs
        self._replay = Replay()
        self.reshape(*bottom_shapes)

    def reshape(self, *bottom_shapes: Shape) -> None:
        """Give the bottoms other shapes and let the layer settle."""
        self._replay.clear()
        for blob, shape in zip(self.bottom, bottom_shapes, strict=True):
            blob.reshape(shape)
        top_shapes = self.layer.reshape([blob.shape for blob in self.bottom])
        for blob, shape in zip(self.top, top_shapes, strict=True):
            blob.reshape(tuple(shape))
            if self.layer.shares != "no":
                blob.share_data(self.bottom[0])
            if self.layer.shares == "both":
                blob.share_diff(self.bottom[0])

    def forward(self) -> list[Floats]:
        """The tops' data after a forward pass; the workspace held garbage before it."""
        device.current().fill(self.layer.workspace, np.nan)
        if self.layer.dynamic:
            for blob, shape in zip(self.top, self.layer.resolve([b.arrays() for b in self.bottom]), strict=True):
                blob.reshape(shape)
        self.layer.prepare()
        top = [t.arrays(("update" if t in self.bottom else "overwrite", "read")) for t in self.top]
        bottom = [b.arrays() for b in self.bottom]
        self._run(("forward",), lambda: self.layer.forward(bottom, top))
        self.layer.verify()
        return [t.data for t in self.top]

    def backward(self, propagate_down: Sequence[bool] | None = None) -> list[Floats]:
        """The bottoms' diffs after a backward pass; by default to every differentiable bottom."""
        if propagate_down is None:
            propagate_down = [self.layer.differentiable(i) for i in range(len(self.bottom))]
        device.current().fill(self.layer.workspace, np.nan)
        top, bottom = [t.arrays() for t in self.top], [b.arrays(("read", "update")) for b in self.bottom]
        key = "backward", tuple(propagate_down), tuple(self.layer.param_propagate_down)
        self._run(key, lambda: self.layer.backward(top, propagate_down, bottom))
        return [b.diff for b in self.bottom]

    def _run(self, key: tuple[object, ...], body: Callable[[], object]) -> None:
        """As a net would on the CPU: by oneDNN's calls where they serve, unless the layer is the host's."""
        if self.layer.host or not isinstance(device.current(), device.Cpu):
            body()
        else:
            self._replay.run(key, [0], body)

    def blob(self, where: Where) -> Blob:
        """The blob that `where` names."""
        return self.bottom[where] if isinstance(where, int) else self.weights[where[1]]


def build(text: str, bottom_shapes: Sequence[Shape], phase: int = TEST) -> Case:
    """A case from a layer's prototxt text; a missing name, bottom or top is made up (`bottom0`, ..., `top`)."""
    param = text_format.Parse(text, LayerParameter())
    param.name = param.name or "layer"
    if not param.bottom:
        param.bottom.extend(f"bottom{i}" for i in range(len(bottom_shapes)))
    if not param.top:
        param.top.append("top")
    return Case(param, bottom_shapes, phase)


def fill(case: Case, rng: np.random.Generator, scale: float = 1.0) -> None:
    """Normal noise into every bottom and every weight."""
    for blob in (*case.bottom, *case.weights):
        blob.data[...] = scale * rng.standard_normal(blob.shape)


def check_gradient(
    case: Case,
    where: Where,
    rng: np.random.Generator,
    *,
    step: float = 1e-2,
    tolerance: float = 5e-3,
    skip: np.ndarray | None = None,
    tops: Sequence[int] = (0,),
) -> None:
    """Compare the diff of noise * tops with respect to the blob at `where` with central differences.

    Three random directions are tried from the point that the blobs hold, which is restored in the end. `skip` masks
    elements that must not move (kinks closer than `step`); `tops` are the tops that get noise, the others zeros.
    """
    blob = case.blob(where)
    values = [(b, b.data.copy()) for b in (*case.bottom, blob)]
    noise = [rng.standard_normal(top.shape) * (i in tops) for i, top in enumerate(case.top)]

    def run(offset: np.ndarray | float) -> float:
        for b, value in values:
            b.data[...] = value
        blob.data[...] += offset
        set_random_seed(1701)
        return sum(float((n * data).sum()) for n, data in zip(noise, case.forward(), strict=True))

    run(0)
    for weight in case.weights:
        weight.diff[...] = 3  # to be added to
    for bottom in case.bottom:
        bottom.diff[...] = math.nan  # to be overwritten
    for top, n in zip(case.top, noise, strict=True):
        top.diff[...] = n
    case.backward()
    diff = blob.diff.astype(np.float64) - (0 if isinstance(where, int) else 3)
    moving = np.ones(blob.shape, bool) if skip is None else ~skip
    for _ in range(3):
        direction = rng.uniform(-1, 1, blob.shape) * moving
        slope = (run(step * direction) - run(-step * direction)) / (2 * step)
        expected = float((diff * direction).sum(where=moving))
        bound = tolerance * max(abs(slope), float(np.linalg.norm(diff[moving])), 1e-6)
        assert abs(expected - slope) <= bound, f"{where}: backward says {expected}, differences say {slope}"
    for b, value in values:
        b.data[...] = value


def check_manners(case: Case, rng: np.random.Generator) -> None:
    """forward writes no diff; without propagate_down backward leaves the bottoms' alone, and adds to the weights'.

    The bottoms hold what they held before when it is done.
    """
    values = [blob.data.copy() for blob in case.bottom]
    noise = [rng.standard_normal(top.shape) for top in case.top]

    def run() -> None:
        for bottom, value in zip(case.bottom, values, strict=True):
            bottom.data[...] = value
        blobs = [*case.bottom, *case.top]
        for blob in blobs:
            blob.diff[...] = 7
        set_random_seed(1701)
        case.forward()
        assert all((blob.diff == 7).all() for blob in blobs), "forward wrote a diff"
        for top, n in zip(case.top, noise, strict=True):
            top.diff[...] = n
        kept = [bottom.diff.copy() for bottom in case.bottom]
        case.backward([False] * len(case.bottom))
        for bottom, old in zip(case.bottom, kept, strict=True):
            np.testing.assert_array_equal(bottom.diff, old, "backward wrote a diff that nobody asked for")

    for weight in case.weights:
        weight.diff[...] = 0
    run()
    once = [weight.diff.copy() for weight in case.weights]
    run()
    for weight, first in zip(case.weights, once, strict=True):
        np.testing.assert_allclose(weight.diff, 2 * first, rtol=1e-3, atol=1e-4, err_msg="weight diffs must add up")
    for bottom, value in zip(case.bottom, values, strict=True):
        bottom.data[...] = value
