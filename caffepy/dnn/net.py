"""OpenCV's Net over a caffepy.Net."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy import device
from caffepy.blob import Blob, Floats, fit
from caffepy.dnn.blobs import Array, scalar, shifted
from caffepy.draw import get_pydot_graph
from caffepy.errors import ArgumentError, StateError, UnknownBlobError, nearest
from caffepy.layer import Layer as CaffeLayer
from caffepy.limits import COMPUTES, Limits
from caffepy.proto.caffe_pb2 import TEST
from caffepy.pycaffe import Net as CaffeNet

DNN_BACKEND_DEFAULT, DNN_BACKEND_OPENCV, DNN_BACKEND_CUDA = 0, 3, 5
DNN_TARGET_CPU, DNN_TARGET_CUDA, DNN_TARGET_CUDA_FP16 = 0, 6, 7

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Array


@dataclass(frozen=True, eq=False)
class Layer:
    """What `getLayer` tells of a layer; blobs are its weights."""

    name: str
    type: str
    blobs: list[Floats]


def readNetFromCaffe(prototxt: Source, caffeModel: Source = "", *, limits: Limits = COMPUTES) -> "Net":
    """A net from a prototxt and a .caffemodel: paths, or bytes as bytes, bytearray or uint8 array.

    It is built for testing, and as OpenCV does not run Python layers or read what a model names, `limits` forbid it.
    Raises what caffepy.Net raises.
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model = _path(prototxt, Path(folder, "buffer.prototxt"))
        absent = isinstance(caffeModel, str) and not caffeModel
        weights = None if absent else _path(caffeModel, Path(folder, "buffer.caffemodel"))
        return Net(CaffeNet(model, TEST, weights=weights, limits=limits))


def _path(source: Source, buffer: Path) -> str | os.PathLike[str]:
    if isinstance(source, str | os.PathLike):
        return source
    if isinstance(source, np.ndarray) and source.dtype != np.uint8:
        raise ArgumentError(f"readNetFromCaffe: a buffer must be bytes or a uint8 array, got {source.dtype}")
    buffer.write_bytes(bytes(source))
    return buffer


def readNet(
    model: str | os.PathLike[str],
    config: str | os.PathLike[str] = "",
    framework: str = "caffe",
    *,
    limits: Limits = COMPUTES,
) -> "Net":
    """The same from a .caffemodel and a .prototxt, in either order. Raises ArgumentError for another framework's."""
    names = sorted((os.fspath(model), os.fspath(config)), key=lambda name: not name.endswith((".prototxt", ".txt")))
    if framework.lower() not in ("", "caffe") or not names[0].endswith((".prototxt", ".txt")):
        raise ArgumentError(
            f"readNet: {model!r}, {config!r}, {framework!r} are no Caffe net; give a .caffemodel and a .prototxt"
        )
    return readNetFromCaffe(*names, limits=limits)


class Net:
    """OpenCV's Net over a caffepy.Net; without one it is empty.

    A layer's number counts from 1 in the order of getLayerNames; 0 is what stands for all inputs.
    """

    def __init__(self, net: CaffeNet | None = None) -> None:
        self._net = net
        self._device: device.Device | None = None
        self._inputs: dict[str, Floats] = {}
        self._ticks = 0

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
        self._inputs[name or inputs[0]] = shifted(value, scalefactor, scalar(mean))

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
        began = time.perf_counter_ns()
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
        self._ticks = time.perf_counter_ns() - began
        outputs = tuple(results[name] for name in names)
        return outputs[0] if outputName is None or isinstance(outputName, str) else outputs

    def getPerfProfile(self) -> tuple[int, npt.NDArray[np.float64]]:
        """Ticks, as nanoseconds (getTickFrequency 1e9), of the last forward pass, and of each layer run once more.

        Raises StateError before the first pass.
        """
        if not self._ticks:
            raise StateError("getPerfProfile: no forward pass has run; call setInput and forward first")
        net = self._built()
        with device.pinned(self._device):
            costs = net.profile(1).layers
        return self._ticks, np.array([1e6 * (costs[i].forward.ms or 0.0) for i in self._shown()])

    def enableFusion(self, fusion: bool) -> None:
        """Accepted: what is fused changes no numbers."""

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
        if layerId == 0 and not isinstance(layerId, str):
            return Layer("_input", "__NetInputLayer__", [])
        found = self._layer(layerId)
        return Layer(found.name, found.type, [blob.data for blob in found.blobs])

    def getLayerTypes(self) -> tuple[str, ...]:
        """Each type once, sorted; `__NetInputLayer__` is that of what stands for the inputs."""
        layers = self._built().execution.layers
        return tuple(sorted({"__NetInputLayer__", *(layers[i].type for i in self._shown())}))

    def getLayersCount(self, layerType: str) -> int:
        """How many layers there are of that type."""
        layers = self._built().execution.layers
        return [*(layers[i].type for i in self._shown()), "__NetInputLayer__"].count(layerType)

    def getParam(self, layer: int | str, numParam: int = 0) -> Floats:
        """A copy of a layer's weights; raises UnknownLayerError, ArgumentError."""
        return self._param(layer, numParam).data.copy()

    def setParam(self, layer: int | str, numParam: int, blob: npt.ArrayLike) -> None:
        """Give a layer other weights, of the same shape but for axes of length 1."""
        weights = self._param(layer, numParam)
        weights.data[...] = fit(blob, weights.shape, f"setParam: blob {numParam} of layer {layer!r}")

    def dump(self) -> str:
        """The net as a graph in Graphviz's language."""
        return get_pydot_graph(self._built().param, "TB").to_string()

    def getUnconnectedOutLayersNames(self) -> tuple[str, ...]:
        """The layers of whose tops no other layer takes one."""
        names = self.getLayerNames()
        return tuple(names[i - 1] for i in self.getUnconnectedOutLayers())

    def getUnconnectedOutLayers(self) -> npt.NDArray[np.int32]:
        """Their numbers."""
        consumed = {version[0] for versions in self._built().wiring.sources for version in versions}
        return np.array([n for n, i in enumerate(self._shown(), start=1) if i not in consumed], np.int32)

    def _layer(self, layer: int | str) -> CaffeLayer:
        net, shown = self._built(), self._shown()
        if isinstance(layer, str):
            return net.execution.layers[net.layer_index(layer)]
        if not 1 <= layer <= len(shown):
            raise ArgumentError(f"getLayer: {layer} is not a layer's number, 0 to {len(shown)}")
        return net.execution.layers[shown[int(layer) - 1]]

    def _param(self, layer: int | str, index: int) -> Blob:
        found = self._layer(layer)
        if not 0 <= index < len(found.blobs):
            raise ArgumentError(f"layer {found.name!r} ({found.type}) has {len(found.blobs)} weight blobs, no {index}")
        return found.blobs[index]

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
