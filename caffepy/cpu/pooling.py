"""Pooling where oneDNN means the same as Caffe; the places of maxima stay in oneDNN's form unless asked for."""

import numpy as np

from caffepy.cpu import arguments as a
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.folding import again
from caffepy.cpu.homes import Computed
from caffepy.cpu.record import Operation
from caffepy.cpu.table import translates
from caffepy.device.onednn.handles import Attributes, Layout, Memory, Primitive, chosen, dims, library


def _window(operation: Operation, image: tuple[int, ...], top: tuple[int, ...]) -> tuple[list[int], ...]:
    """Kernel, stride, padding before and behind, per axis."""
    if "window" not in operation.constants:
        kernel = list(image[2:])
        return kernel, [1] * len(kernel), [0] * len(kernel), [0] * len(kernel)
    w = operation.constants["window"]
    kernel, stride, pad = [w.kernel_h, w.kernel_w], [w.stride_h, w.stride_w], [w.pad_h, w.pad_w]
    behind = [
        (p - 1) * s + k - e - before for p, s, k, e, before in zip(top[2:], stride, kernel, image[2:], pad, strict=True)
    ]
    starts = [(p - 1) * s - before for p, s, before in zip(top[2:], stride, pad, strict=True)]
    if any(start >= e for start, e in zip(starts, image[2:], strict=True)):
        raise DeclinedError  # a window wholly outside
    return kernel, stride, pad, behind


def _algorithm(operation: Operation, pad: list[int], behind: list[int]) -> int:
    """The divisor of an average is the window clipped to the image and its pad."""
    if "max" in operation.name:
        return a.MAX
    if not any(pad):
        return a.AVERAGE_EXCLUDE
    if all(after <= before for before, after in zip(pad, behind, strict=True)):
        return a.AVERAGE_INCLUDE
    raise DeclinedError


def _forward(operation: Operation, source: Layout, top: tuple[int, ...]) -> tuple[Primitive, int, list[object]]:
    kernel, stride, pad, behind = _window(operation, source.shape, top)
    algorithm = _algorithm(operation, pad, behind)
    given: list[object] = [dims(x) for x in (stride, kernel, [0] * len(kernel), pad, behind)]
    engine = library().engine
    primitive = Primitive("pooling_forward", engine, a.TRAINING, algorithm, source, chosen(top), *given, Attributes())
    return primitive, algorithm, given


def _shapes(image: object, top: object) -> tuple[tuple[int, ...], tuple[int, ...]]:
    assert isinstance(image, np.ndarray)
    assert isinstance(top, np.ndarray)
    if image.ndim != 4 or top.ndim != 4:
        raise DeclinedError
    return image.shape, top.shape


@translates("max_pool_forward", "global_max_pool_forward", "ave_pool_forward", "global_ave_pool_forward")
def pool_forward(b: Builder, operation: Operation) -> None:
    """In the layout that the images are in."""
    image, top = operation["bottom_data"], operation["top_data"]
    image_shape, top_shape = _shapes(image, top)
    layout = b.layout(image, image_shape)
    primitive, _, _ = _forward(operation, layout, top_shape)
    target = primitive.layout(a.ASK_DST)
    workspace = primitive.layout(a.ASK_WORKSPACE)
    if target is None or ("mask" in operation.arguments) != (workspace is not None):
        raise DeclinedError
    memories: dict[int, Memory | None] = {a.SRC: b.read(image, layout)}
    if workspace is not None:
        places = b.kept(workspace)
        b.compute(operation["mask"], Computed(again(b, [operation], "mask"), (places, (layout, target))))
        memories[a.WORKSPACE] = places
    b.add(primitive, {**memories, a.DST: b.write(top, target)})


@translates("max_pool_backward", "global_max_pool_backward", "ave_pool_backward", "global_ave_pool_backward")
def pool_backward(b: Builder, operation: Operation) -> None:
    """In the layout that the tops' diffs are in; for maxima in that of the places."""
    top_diff, bottom_diff = operation["top_diff"], operation["bottom_diff"]
    image_shape, top_shape = _shapes(bottom_diff, top_diff)
    places = b.computed(operation["mask"]) if "mask" in operation.arguments else None
    if places is None:
        top = b.layout(top_diff, top_shape)
        source = top.of(image_shape)
    else:
        source, top = places[1]
    forward, algorithm, given = _forward(operation, source, top_shape)
    primitive = Primitive("pooling_backward", library().engine, algorithm, source, top, *given, forward, Attributes())
    workspace = forward.layout(a.ASK_WORKSPACE)
    if source.shape != image_shape or top.shape != top_shape or (places is None) != (workspace is None):
        raise DeclinedError
    diff = b.read(top_diff, top)
    memories: dict[int, Memory | None] = {a.DIFF_DST: diff, a.WORKSPACE: places and places[0]}
    b.add(primitive, {**memories, a.DIFF_SRC: b.write(bottom_diff, source)})
