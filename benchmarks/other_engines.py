"""ONNX Runtime, OpenCV and Caffe itself as engines: the same net, exported or from the same files and input."""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks import case
from benchmarks.runs import one_score


class OnnxRuntime:
    """ONNX Runtime on the CPU."""

    ways = ("forward",)

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime

        from caffepy.interop.onnx import to_onnx

        net = case.load(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "net.onnx"
            to_onnx(net, path)
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._output = net.outputs[0]
        self._inputs = {name: net.blobs[name].data.copy() for name in net.inputs}

    def forward(self) -> list[np.ndarray]:
        return list(self._session.run([self._output], self._inputs))


class OpenCv:
    """cv2.dnn on the CPU."""

    ways = ("forward",)

    def __init__(self, folder: Path, threads: int) -> None:
        import cv2

        cv2.setNumThreads(threads)
        self._net = cv2.dnn.readNetFromCaffe(str(folder / case.DEFINITION), str(folder / case.WEIGHTS))
        with np.load(folder / case.INPUTS) as inputs:
            self._inputs = dict(inputs)

    def forward(self) -> list[np.ndarray]:
        for name, data in self._inputs.items():
            self._net.setInput(data, name)
        return [self._net.forward()]


class Caffe:
    """BVLC Caffe, where `import caffe` finds it. Its backward goes to all weights, always."""

    ways = ("forward", "backward")

    def __init__(self, folder: Path, threads: int) -> None:
        import caffe

        caffe.set_mode_cpu()
        self._net = caffe.Net(str(folder / case.DEFINITION), str(folder / case.WEIGHTS), caffe.TEST)
        with np.load(folder / case.INPUTS) as inputs:
            for name in self._net.inputs:
                self._net.blobs[name].data[...] = inputs[name]
        self._output = self._net.outputs[0]

    def forward(self) -> list[np.ndarray]:
        return [self._net.forward()[self._output]]

    def backward(self) -> list[np.ndarray]:
        net = self._net
        for blobs in net.params.values():
            for blob in blobs:
                blob.diff[...] = 0
        net.forward()
        for name in net.outputs:
            net.blobs[name].diff[...] = one_score(net) if name == self._output else 0
        net.backward()
        kinds = dict(zip(net._layer_names, net.layers, strict=True))
        learning = ("Convolution", "InnerProduct", "Scale")
        return [b.diff for name, blobs in net.params.items() if kinds[name].type in learning for b in blobs]
