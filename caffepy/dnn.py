"""OpenCV 4's cv2.dnn for Caffe models, which OpenCV 5 no longer reads: `from caffepy import dnn`, the rest stays."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy import device
from caffepy.blob import Floats
from caffepy.errors import ArgumentError, StateError, UnknownBlobError
from caffepy.graph import nearest
from caffepy.layers.detection.boxes import best_first, suppress
from caffepy.proto.caffe_pb2 import TEST
from caffepy.pycaffe import Net as CaffeNet

CV_8U, CV_32F = 0, 5

DNN_BACKEND_DEFAULT, DNN_BACKEND_OPENCV, DNN_BACKEND_CUDA = 0, 3, 5
DNN_TARGET_CPU, DNN_TARGET_CUDA, DNN_TARGET_CUDA_FP16 = 0, 6, 7

Array = npt.NDArray[Any]
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Array

_WEIGHT_BITS = 11  # of a resized byte's weights: INTER_RESIZE_COEF_BITS in resize.cpp


# ---- pictures and blobs


def blobFromImage(
    image: npt.ArrayLike,
    scalefactor: float = 1.0,
    size: Sequence[int] = (0, 0),
    mean: float | Sequence[float] = (0, 0, 0),
    swapRB: bool = False,
    crop: bool = False,
    ddepth: int = CV_32F,
) -> Array:
    """One picture (height, width) or (height, width, channels) as a blob (1, channels, height, width)."""
    return blobFromImages([image], scalefactor, size, mean, swapRB, crop, ddepth)


def blobFromImages(
    images: Sequence[npt.ArrayLike],
    scalefactor: float = 1.0,
    size: Sequence[int] = (0, 0),
    mean: float | Sequence[float] = (0, 0, 0),
    swapRB: bool = False,
    crop: bool = False,
    ddepth: int = CV_32F,
) -> Array:
    """The pictures as a blob (n, channels, height, width); each value (resized - mean) * scalefactor.

    size    (width, height); (0, 0) is that of the first picture. Bilinear between pixel centres, bytes to bytes.
    mean    one number per channel, in the order of the blob's channels
    swapRB  exchange channels 0 and 2
    crop    keep the aspect: resize until both sides suffice, then cut out the centre
    ddepth  CV_32F, or CV_8U for bytes as they are

    Raises ArgumentError.
    """
    pictures = [np.asarray(image) for image in images]
    if not pictures or any(p.ndim not in (2, 3) or p.size == 0 for p in pictures):
        shapes = [p.shape for p in pictures]
        raise ArgumentError(f"blobFromImages: give pictures (height, width[, channels]), one at least, got {shapes}")
    if len({p.shape[2:] for p in pictures}) > 1:
        raise ArgumentError(f"blobFromImages: all need as many channels, got shapes {[p.shape for p in pictures]}")
    if ddepth not in (CV_8U, CV_32F):
        raise ArgumentError(f"blobFromImages: ddepth is {ddepth}; give CV_32F (5) or CV_8U (0)")
    per_channel = _scalar(mean)
    if ddepth == CV_8U and (scalefactor != 1 or per_channel.any() or any(p.dtype != np.uint8 for p in pictures)):
        raise ArgumentError("blobFromImages: ddepth CV_8U takes uint8 pictures, no scalefactor and no mean; use CV_32F")
    width, height = (int(extent) for extent in size)
    if width <= 0 or height <= 0:
        height, width = pictures[0].shape[:2]
    blob = np.stack([_fitted(p, height, width, crop) for p in pictures]).transpose(0, 3, 1, 2)
    if swapRB and blob.shape[1] >= 3:
        blob = blob[:, [2, 1, 0, *range(3, blob.shape[1])]]
    if ddepth == CV_8U:
        return np.ascontiguousarray(blob)
    return _shifted(blob, scalefactor, per_channel)


def imagesFromBlob(blob_: npt.ArrayLike) -> tuple[Array, ...]:
    """The pictures of a blob (n, channels, height, width): (height, width, channels), or (height, width) of one."""
    blob = np.asarray(blob_)
    if blob.ndim != 4:
        raise ArgumentError(f"imagesFromBlob: expected a blob (n, channels, height, width), got shape {blob.shape}")
    images = np.ascontiguousarray(blob.transpose(0, 2, 3, 1))
    return tuple(images[..., 0] if blob.shape[1] == 1 else images)


def NMSBoxes(
    bboxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    score_threshold: float,
    nms_threshold: float,
    eta: float = 1.0,
    top_k: int = 0,
) -> Any:
    """Indices of the boxes (x, y, width, height) that stay, the best first; () where none does.

    Those that score above score_threshold, the top_k best of them if top_k is above 0, and of these none that overlaps
    a better one by more than nms_threshold (intersection over union).
    """
    boxes, given = np.asarray(bboxes, np.float32).reshape(-1, 4), np.asarray(scores, np.float32).reshape(-1)
    if len(boxes) != len(given):
        raise ArgumentError(f"NMSBoxes: {len(boxes)} boxes and {len(given)} scores; give one score for each box")
    order = best_first(given)
    order = order[given[order] > score_threshold][: top_k if top_k > 0 else None]
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    kept = order[suppress(corners[order], nms_threshold, eta=eta)]
    return kept.astype(np.int32) if len(kept) else ()


def _scalar(values: float | Sequence[float]) -> Floats:
    """OpenCV's Scalar: four numbers, zeros for those not given."""
    given = np.atleast_1d(np.asarray(values, np.float32))
    if given.ndim != 1 or given.size > 4:
        raise ArgumentError(f"mean: expected at most 4 numbers, one per channel, got {values!r}")
    return np.pad(given, (0, 4 - given.size))


def _shifted(blob: Array, scale: float, mean: Floats) -> Floats:
    """(blob - mean) * scale, in new memory; a mean for each of axis 1."""
    out: Floats = np.array(blob, np.float32, order="C")
    if mean.any():
        channels = out.shape[1] if out.ndim > 1 else 1
        if channels > mean.size:
            raise ArgumentError(
                f"mean: it has 4 numbers at most, but there are {channels} channels; subtract it before"
            )
        out -= mean[:channels].reshape(-1, *[1] * (out.ndim - 2))
    if scale != 1:
        out *= np.float32(scale)
    return out


def _fitted(image: Array, height: int, width: int, crop: bool) -> Array:
    """The picture as (height, width, channels)."""
    image = image if image.ndim == 3 else image[:, :, np.newaxis]
    if image.shape[:2] == (height, width):
        return image
    if not crop:
        return _resized(image, height, width, (image.shape[0] / height, image.shape[1] / width))
    factor = float(max(np.float32(width) / np.float32(image.shape[1]), np.float32(height) / np.float32(image.shape[0])))
    large = [round(extent * factor) for extent in image.shape[:2]]
    whole = _resized(image, large[0], large[1], (1 / factor, 1 / factor))
    top, left = int(0.5 * (large[0] - height)), int(0.5 * (large[1] - width))
    return whole[top : top + height, left : left + width]


def _resized(image: Array, height: int, width: int, steps: tuple[float, float]) -> Array:
    """cv2.resize with INTER_LINEAR: bytes with the fixed-point weights of its resize.cpp, other types as float32."""
    bytes_ = bool(image.dtype == np.uint8)
    rows, below, down = _line(height, image.shape[0], steps[0], bytes_)
    columns, right, along = _line(width, image.shape[1], steps[1], bytes_)
    inside = (columns >= 0) & (columns < image.shape[1] - 1)
    along = np.where(inside, along, np.float32(0))
    columns, rows = columns.clip(0, image.shape[1] - 1), rows.clip(0, image.shape[0] - 1)
    down, along = down[:, np.newaxis, np.newaxis], along[:, np.newaxis]
    if not bytes_:
        values = image.astype(np.float32)
        across = values[:, columns] * (1 - along) + values[:, right] * along
        return np.asarray(across[rows] * (1 - down) + across[below] * down)
    pixels: npt.NDArray[np.int32] = image.astype(np.int32)
    whole = (pixels[:, columns] * _fixed(1 - along) + pixels[:, right] * _fixed(along)) >> 4
    mixed = (_fixed(1 - down) * whole[rows] >> 16) + (_fixed(down) * whole[below] >> 16)
    return ((mixed + 2) >> 2).astype(np.uint8)


def _fixed(part: Floats) -> npt.NDArray[np.int32]:
    return np.rint(part * (1 << _WEIGHT_BITS)).astype(np.int32)


def _line(resized: int, extent: int, step: float, bytes_: bool) -> tuple[Array, Array, Floats]:
    """Where each new place stands: the old one before it, perhaps outside, the one after, inside, and its weight."""
    at = (np.arange(resized) + 0.5) * step - 0.5
    at = at.astype(np.float32) if bytes_ else at
    before = np.floor(at).astype(np.intp)
    return before, (before + 1).clip(0, extent - 1), (at - before).astype(np.float32)


# ---- nets


@dataclass(frozen=True, eq=False)
class Layer:
    """What `getLayer` tells of a layer; blobs are its weights."""

    name: str
    type: str
    blobs: list[Floats]


def readNetFromCaffe(prototxt: Source, caffeModel: Source = "") -> "Net":
    """A net from a prototxt and a .caffemodel: paths, or bytes as bytes, bytearray or uint8 array.

    It is built for testing. Raises what caffepy.Net raises.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = _path(prototxt, Path(folder, "buffer.prototxt"))
        absent = isinstance(caffeModel, str) and not caffeModel
        weights = None if absent else _path(caffeModel, Path(folder, "buffer.caffemodel"))
        return Net(CaffeNet(model, TEST, weights=weights))


def _path(source: Source, buffer: Path) -> str | os.PathLike[str]:
    if isinstance(source, str | os.PathLike):
        return source
    if isinstance(source, np.ndarray) and source.dtype != np.uint8:
        raise ArgumentError(f"readNetFromCaffe: a buffer must be bytes or a uint8 array, got {source.dtype}")
    buffer.write_bytes(bytes(source))
    return buffer


class Net:
    """OpenCV's Net over a caffepy.Net; without one it is empty.

    A layer's number counts from 1 in the order of getLayerNames; 0 is what stands for all inputs.
    """

    def __init__(self, net: CaffeNet | None = None) -> None:
        self._net = net
        self._device: device.Device | None = None
        self._inputs: dict[str, Floats] = {}

    def empty(self) -> bool:
        """Whether there is no net in it."""
        return self._net is None

    # ---- passes

    def setInput(
        self, blob: npt.ArrayLike, name: str = "", scalefactor: float = 1.0, mean: float | Sequence[float] = (0, 0, 0)
    ) -> None:
        """Let the input `name`, by default the first, be (blob - mean) * scalefactor at the next forward passes.

        The input takes the blob's shape. Raises UnknownBlobError, ArgumentError.
        """
        inputs = self._built().inputs
        if name not in inputs and (name or not inputs):
            raise UnknownBlobError(f"setInput: this net has no input {name!r}{nearest(name, inputs)}")
        value = np.asarray(blob)
        if value.dtype.kind not in "biuf":
            raise ArgumentError(f"setInput: the blob must hold real numbers, got dtype {value.dtype}")
        self._inputs[name or inputs[0]] = _shifted(value, scalefactor, _scalar(mean))

    def forward(self, outputName: str | Sequence[str] | None = None) -> Any:
        """The output of the layer of that name, by default the last; of a list of names a tuple of outputs.

        What those layers need is run, and no more. A layer with several tops gives its first.
        DetectionOutput gives as many rows as it found: OpenCV adds rows of zeros up to keep_top_k.
        Raises UnknownLayerError, StateError where an input is missing, and what the layers raise.
        """
        net = self._built()
        names = [outputName] if isinstance(outputName, str) else [""] if outputName is None else list(outputName)
        wanted = {name: net.layer_index(name or self.getLayerNames()[-1]) for name in names}
        if silent := [net.layer_names[i] for i in wanted.values() if not net.execution.layers[i].param.top]:
            raise ArgumentError(f"forward: layer {silent[0]!r} has no top; name one that has")
        if missing := [name for name in net.inputs if name not in self._inputs]:
            raise StateError(f"forward: nothing was given for input {missing[0]!r}; call setInput first")
        results: dict[str, Floats] = {}
        with device.pinned(self._device):
            for name, value in self._inputs.items():
                net.blob(name).reshape(value.shape)
                net.blob(name).data[...] = value
            start = 0
            for name, end in sorted(wanted.items(), key=lambda item: item[1]):
                if start <= end:
                    net.forward_from_to(start, end)
                results[name] = net.blob(net.execution.layers[end].param.top[0]).data.copy()
                start = end + 1
        outputs = tuple(results[name] for name in names)
        return outputs[0] if outputName is None or isinstance(outputName, str) else outputs

    def setPreferableBackend(self, backendId: int) -> None:
        """Accepts the default, OpenCV's own and CUDA; which device runs is what setPreferableTarget decides."""
        known = {DNN_BACKEND_DEFAULT, DNN_BACKEND_OPENCV, DNN_BACKEND_CUDA}
        if backendId not in known:
            raise ArgumentError(f"setPreferableBackend: {backendId} is none of {sorted(known)} (DEFAULT, OPENCV, CUDA)")

    def setPreferableTarget(self, targetId: int) -> None:
        """Let the net run on the CPU, or on GPU 0 for CUDA and CUDA_FP16 (in float32); not called, as the mode is.

        Raises DeviceError where the GPU cannot be used, ArgumentError for any other target.
        """
        if targetId not in (DNN_TARGET_CPU, DNN_TARGET_CUDA, DNN_TARGET_CUDA_FP16):
            raise ArgumentError(
                f"setPreferableTarget: {targetId} is none of DNN_TARGET_CPU (0), CUDA (6) and CUDA_FP16 (7)"
            )
        self._device = device.named("cpu" if targetId == DNN_TARGET_CPU else 0)

    # ---- layers

    def getLayerNames(self) -> tuple[str, ...]:
        """In order of execution, without inputs and without the splits that Caffe inserts."""
        return tuple(self._built().execution.layers[i].name for i in self._shown())

    def getLayerId(self, layer: str) -> int:
        """The layer's number, -1 if there is none of that name."""
        names = self.getLayerNames()
        return names.index(layer) + 1 if layer in names else -1

    def getLayer(self, layerId: int | str) -> Layer:
        """The layer of that number or name; raises UnknownLayerError, ArgumentError."""
        net = self._built()
        if isinstance(layerId, str):
            found = net.execution.layers[net.layer_index(layerId)]
        elif 0 <= layerId <= len(self._shown()):
            if layerId == 0:
                return Layer("_input", "", [])
            found = net.execution.layers[self._shown()[int(layerId) - 1]]
        else:
            raise ArgumentError(f"getLayer: {layerId} is not a layer's number, 0 to {len(self._shown())}")
        return Layer(found.name, found.type, [blob.data for blob in found.blobs])

    def getUnconnectedOutLayersNames(self) -> tuple[str, ...]:
        """The layers of whose tops no other layer takes one."""
        names = self.getLayerNames()
        return tuple(names[i - 1] for i in self.getUnconnectedOutLayers())

    def getUnconnectedOutLayers(self) -> npt.NDArray[np.int32]:
        """Their numbers."""
        consumed = {version[0] for versions in self._built().wiring.sources for version in versions}
        return np.array([n for n, i in enumerate(self._shown(), start=1) if i not in consumed], np.int32)

    def _shown(self) -> list[int]:
        """The layers that have a number."""
        return [
            i
            for i, layer in enumerate(self._built().execution.layers)
            if layer.type != "Input" and not (layer.type == "Split" and layer.name.endswith("_split"))
        ]

    def _built(self) -> CaffeNet:
        if self._net is None:
            raise StateError("this net is empty; readNetFromCaffe(prototxt, caffeModel) gives one that is not")
        return self._net
