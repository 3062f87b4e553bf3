"""ONNX Runtime and OpenCV as engines that run forward: the same net, exported or saved, on the same input."""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.nets import NETS
from benchmarks.runs import build
from caffepy.interop.onnx import to_onnx
from caffepy.proto import prototxt


class OnnxRuntime:
    """ONNX Runtime on the CPU."""

    def __init__(self, name: str, batch: int, threads: int) -> None:
        import onnxruntime

        net = build(NETS[name](batch))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.onnx"
            to_onnx(net, path)
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._inputs = {self._session.get_inputs()[0].name: net.blobs["data"].data.copy()}

    def forward(self) -> np.ndarray:
        found: np.ndarray = self._session.run(None, self._inputs)[0]
        return found


class OpenCv:
    """cv2.dnn on the CPU."""

    def __init__(self, name: str, batch: int, threads: int) -> None:
        import cv2

        net = build(NETS[name](batch))
        cv2.setNumThreads(threads)
        with tempfile.TemporaryDirectory() as folder:
            definition, weights = Path(folder) / "net.prototxt", Path(folder) / "net.caffemodel"
            definition.write_text(prototxt.format(net.param))
            net.save(weights)
            self._net = cv2.dnn.readNetFromCaffe(str(definition), str(weights))
        self._data = net.blobs["data"].data.copy()

    def forward(self) -> np.ndarray:
        self._net.setInput(self._data)
        found: np.ndarray = self._net.forward()
        return found
