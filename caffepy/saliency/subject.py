"""What a method works on: images in a net's input and a score of each; passes over batches made of them."""

import math
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from caffepy import device
from caffepy.blob import Floats, Shape
from caffepy.errors import ArgumentError, StateError
from caffepy.net import Net
from caffepy.net.gradient import VersionName
from caffepy.net.rules import RuleSet
from caffepy.saliency.finite import check_finite, check_weights
from caffepy.saliency.parameters import whole_number
from caffepy.saliency.preprocess import images_of
from caffepy.saliency.score import only
from caffepy.saliency.target import Goal, Target, goals

_HOST_BYTES = 192 << 20
"""What a batch's blobs may take on the CPU: more does not fit into its caches, and gains nothing."""
_GPU_BYTES = 4 << 30
_MOST = 64
_DATA_LAYERS = ("Data", "ImageData", "HDF5Data", "WindowData", "MemoryData", "AnnotatedData", "DummyData", "Python")


_ran: weakref.WeakKeyDictionary[Net, Any] = weakref.WeakKeyDictionary()
"""The images that each net has last run on, while a method works on it; nobody writes to them then."""


@dataclass(frozen=True)
class Subject:
    """Images, on the device, and several goals, each with one score an image."""

    net: Net
    input: str
    images: Any
    """(N, channels, height, width)"""
    goals: Sequence[Goal]
    layer: VersionName
    """The blob that methods explain: the input, or one in mid-net."""
    most: int
    """Images in a pass, for as much memory as there is."""
    batches: bool = True
    """Whether the net can take any number of images."""

    @property
    def shape(self) -> Shape:
        """(N, channels, height, width)"""
        found: Shape = tuple(self.images.shape)
        return found

    def new(self, shape: Sequence[int]) -> Any:
        """Zeros on the device."""
        return zeros(shape)

    # ---- passes

    def forward(self, *, anew: bool = False) -> None:
        """Run the net on the images, unless it has just done so, and not `anew`."""
        blob = self.net.blob(self.input)
        if blob.shape != self.shape:
            blob.reshape(self.shape)
        elif not anew and self._stands():
            return
        device.current().copy(self.images, blob.data_storage.array(blob.count, "overwrite").reshape(self.shape))
        self.net.forward_from_to(0, len(self.net.execution.layers) - 1)
        _ran[self.net] = self.images

    def _stands(self) -> bool:
        execution = self.net.execution
        if execution.stale or (execution.rules is not None and execution.kept_by != execution.rules.forward_key):
            return False
        if _ran.get(self.net) is self.images:
            return True
        found = self.net.blob(self.input).data_storage
        if not isinstance(device.current(), device.Cpu):
            return False
        return np.array_equal(found.read_host(self.images.size).reshape(self.shape), self.images)

    def gradients(self, wrt: VersionName | None = None, rules: RuleSet | None = None) -> list[Any]:
        """Each goal's gradient with respect to `wrt` (default: the layer), after a forward pass if one is needed.

        rules   layers' rules in place of their derivatives
        """
        wanted = self.layer if wrt is None else wrt
        return [result[wanted] for result in self.all_gradients([wanted], rules)]

    def all_gradients(self, wrt: Sequence[VersionName], rules: RuleSet | None = None) -> list[dict[VersionName, Any]]:
        """The same for several blobs at once."""
        with ExitStack() as stack:
            if rules is not None:
                stack.enter_context(self.net.rules(rules))
            self.forward()
            return [self.net.gradient(goal.now(self.net), list(wrt)) for goal in self.goals]

    def scores(self) -> Floats:
        """(goals, N): each goal's score of each image, on the host."""
        self.forward()
        return np.stack([goal.values(self.net) for goal in self.goals])

    def data(self, name: VersionName) -> Any:
        """A copy of a blob's data, after a forward pass, on the device."""
        self.forward()
        blob = self.net.blob(name if isinstance(name, str) else name[0])
        copy = zeros(blob.shape)
        device.current().copy(blob.data_storage.array(blob.count).reshape(blob.shape), copy)
        return copy

    def at_input(self, method: str) -> None:
        """Raise ArgumentError unless it is the input that is explained."""
        if self.layer != self.input:
            raise ArgumentError(
                f"{method} changes images, so that it explains the input only; leave `layer` out, or take a method of "
                "gradients, of rules or a CAM for a blob in mid-net"
            )

    # ---- others made of it

    def on(self, images: Any, rows: Sequence[int]) -> "Subject":
        """Other images, of which number i is to be explained as image rows[i] is."""
        return replace(self, images=images, goals=[goal.take(rows) for goal in self.goals])

    def one(self, image: int) -> "Subject":
        """One image alone."""
        return self.on(self.images[image : image + 1], [image])

    def of_scores(self) -> "Subject":
        """The same with diffs that are the scores' own parts, so that what is handed down adds up to the score."""
        self.forward()
        weighted = [goal.weighted(self.net) for goal in self.goals]
        return replace(self, goals=weighted)

    def host(self) -> Floats:
        """The images on the host."""
        return device.downloaded(self.images)

    def chunks(self, count: int) -> Iterator[range]:
        """0 ... count - 1 in as few parts as memory allows, all of nearly the same size."""
        most = self.most if self.batches else 1
        parts = max(1, math.ceil(count / most))
        for part in range(parts):
            yield range(count * part // parts, count * (part + 1) // parts)


def zeros(shape: Sequence[int], dtype: DTypeLike = np.float32) -> Any:
    """Zeros on the running device."""
    return device.current().zeros(math.prod(shape), dtype).reshape(tuple(shape))


def uploaded(array: ArrayLike, dtype: DTypeLike = np.float32) -> Any:
    """The array on the running device: on the CPU itself."""
    running = device.current()
    host = np.ascontiguousarray(array, dtype)
    if isinstance(running, device.Cpu):
        return host
    copy = zeros(host.shape, dtype)
    running.upload(host, copy)
    return copy


def repeated(image: Any, count: int) -> Any:
    """(1, ...) -> (count, ...): copies."""
    copies = zeros((count, *image.shape[1:]))
    for k in range(count):
        device.current().copy(image, copies[k : k + 1])
    return copies


@contextmanager
def opened(
    net: Net,
    image: Any,
    target: Target,
    *,
    layer: VersionName | None = None,
    input: str | None = None,
    output: str | None = None,
    before_softmax: bool = True,
    preprocess: Any = None,
    batch: int | None = None,
) -> Iterator[Subject]:
    """A subject for these arguments, which all methods have in common; see caffepy.saliency.method.

    The net runs forward once for the target. Afterwards its input has the shape that it had.
    """
    if not isinstance(net, Net):
        raise ArgumentError(f"a method takes a caffepy.Net first, got {type(net).__name__}")
    if net.closed:
        raise StateError("the net is closed; build it again")
    name = input or _input_of(net)
    blob = net.blob(name)
    if len(blob.shape) != 4:
        raise ArgumentError(f"input {name!r} has shape {blob.shape}; expected (N, channels, height, width)")
    data = images_of(image, blob.shape, preprocess or net.preprocess)
    before, wanted = blob.shape, name if layer is None else layer
    check_weights(net)
    with net.running():
        try:
            alone = Subject(net, name, uploaded(data), [], wanted, 1)
            alone.forward(anew=True)
            found = goals(target, net, len(data), output=output, before_softmax=before_softmax, labels=net.labels)
            most = most_images(net, len(data)) if batch is None else whole_number("batch", batch, least=1)
            subject = Subject(net, name, alone.images, found, wanted, most, len(net.inputs) == 1)
            check_finite(subject.scores())
            yield subject
        finally:
            _ran.pop(net, None)
            if not net.closed and blob.shape != before:
                blob.reshape(before)


def _input_of(net: Net) -> str:
    if net.inputs:
        return only(net.inputs, "input")
    source = next((layer for layer in net.execution.layers if layer.type in _DATA_LAYERS), None)
    made = f"its data come from layer {source.name!r} ({source.type})" if source else "it has no Input layer"
    raise ArgumentError(f"this net has no input to explain: {made}; build it from its deploy.prototxt")


def most_images(net: Net, images: int) -> int:
    """How many images a pass takes, by what the net's blobs and their diffs take for one."""
    each = 8 * sum(blob.count for blob in net.execution.blobs) // max(1, images)
    room = _HOST_BYTES if isinstance(device.current(), device.Cpu) else _GPU_BYTES
    return max(1, min(_MOST, room // max(1, each)))
