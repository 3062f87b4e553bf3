"""What is done with a file of each kind: it is read as a user would have it read, and used."""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import caffepy as caffe
from caffepy import draw
from caffepy.data.transform import read_mean as training_mean
from caffepy.interop import safetensors
from caffepy.limits import Limits
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.proto.caffemodel import open_weights
from caffepy.saliency.labels import read_labels
from caffepy.saliency.preprocess import read_mean
from caffepy.solver import snapshot
from tests.fuzz.nets import VALUES

LIMITS = Limits(allowed=(), work=10**9)
"""Of models: a second's work and no more, and no memory beyond the process's."""
FEW = 20
"""Nets of more blobs run once, forward and backward."""

SMALL = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 2 } }
"""


def fill(net: caffe.Net, first: float | None, others: float | None) -> None:
    """Put a number into the first input and into the others; None: numbers around 0."""
    chance = np.random.default_rng(0)
    for name, value in zip(net.inputs, [first, *[others] * len(net.inputs)], strict=False):
        data = net.blobs[name].data
        data[...] = chance.standard_normal(data.shape) if value is None else value


def passes(net: caffe.Net) -> None:
    """Forward, backward, and, of nets that are not large, the gradient to the inputs."""
    net.forward()
    net.backward()
    if len(net.blobs) <= FEW:
        net.gradient({name: np.ones(net.blobs[name].shape, np.float32) for name in net.outputs})


def use(net: caffe.Net) -> None:
    """Run a net on what its inputs might be, and show it. The first error ends it, others only end a pass."""
    repr(net), net._repr_html_(), net.table()
    fill(net, None, None)
    passes(net)
    for value in VALUES if len(net.blobs) <= FEW else ():
        for first, others in ((None, value), (value, None), (value, value)):
            fill(net, first, others)
            with contextlib.suppress(caffe.errors.CaffeError):
                passes(net)


def each(calls: list[Callable[[], object]]) -> None:
    """Call all of them; the first error of caffepy's is raised at the end."""
    refused = None
    for call in calls:
        try:
            call()
        except caffe.errors.CaffeError as error:
            refused = refused or error
    if refused is not None:
        raise refused


def drawn(path: str) -> None:
    """A definition in text, as a picture, and written again."""
    param = prototxt.read(path, NetParameter)
    prototxt.format(param)
    each([lambda kind=kind: draw.draw_net(param, "LR", kind) for kind in ("svg", "dot")])


def model(path: str, phase: int = caffe.TEST) -> None:
    """A definition in text: built and used, as an untrusted one."""
    use(caffe.Net(path, phase, limits=LIMITS))


def trained(path: str) -> None:
    """The same for training; and without distrust, as pycaffe's own scripts build it, if it has no code of its own."""
    each([lambda: model(path, caffe.TRAIN), lambda: _trusted(path)])


def _trusted(path: str) -> None:
    if not any(layer.type == "Python" for layer in prototxt.read(path, NetParameter).layer):
        caffe.Net(path, caffe.TEST)


def net(line: str) -> None:
    """A net's text: built and used on both of the CPU's roads."""
    param = prototxt.parse(line, NetParameter)
    for engine in ("numpy", "auto"):
        caffe.set_cpu_engine(engine)
        each([lambda phase=phase: use(caffe.Net(param, phase, limits=LIMITS)) for phase in (caffe.TEST, caffe.TRAIN)])


def solver(path: str) -> None:
    """Solver settings: the solver is built and takes a step."""
    caffe.get_solver(path).step(1)


def weights(path: str) -> None:
    """Weights read whole, copied into a small net that keeps its own if they do not fit, and written again."""

    def everything() -> None:
        with open_weights(path) as stored:
            for _, blobs in stored.each:
                for blob in blobs:
                    blob.array()

    def into_a_net() -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "net.prototxt").write_text(SMALL)
            net = caffe.Net(f"{folder}/net.prototxt", caffe.TEST)
            before = {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}
            try:
                net.copy_from(path)
            except caffe.errors.CaffeError:
                for name, blobs in net.params.items():
                    assert all((x == y.data).all() for x, y in zip(before[name], blobs, strict=True)), "half loaded"
                raise
            net.forward()
            net.save(f"{folder}/net.caffemodel")
            net.save(f"{folder}/net.caffemodel.h5")

    each([everything, into_a_net])


def caffemodel(path: str) -> None:
    """A binary file: its weights, and the net that it defines."""
    each([lambda: weights(path), lambda: use(caffe.Net(path, caffe.TEST, limits=LIMITS))])


def mean(path: str) -> None:
    """A mean picture, .binaryproto or .npy."""
    calls: list[Callable[[], object]] = [lambda: read_mean(path, (3, 4, 4))]
    if not path.endswith(".npy"):
        calls.append(lambda: training_mean(path))
    each(calls)


def text(path: str) -> None:
    """A file of labels."""
    read_labels(path)


def picture(path: str) -> None:
    """A picture."""
    each([lambda: caffe.io.load_image(path), lambda: caffe.io.load_image(path, color=False)])


def anything(path: str) -> None:
    """A file given as each kind of thing that it is not."""
    readers = caffe.io.load_image, read_labels, training_mean, open_weights, snapshot.read, safetensors.open_safetensors
    each([lambda reader=reader: reader(path) for reader in readers])
    each([lambda: caffe.Net(path, caffe.TEST)])


TARGETS: dict[str, Callable[[str], object]] = {
    "drawn": drawn,
    "model": model,
    "trained": trained,
    "net": net,
    "solver": solver,
    "weights": weights,
    "caffemodel": caffemodel,
    "mean": mean,
    "picture": picture,
    "anything": anything,
}
BY_ENDING = {
    ".prototxt": ("drawn", "model", "trained", "solver", "anything"),
    ".caffemodel": ("caffemodel", "anything"),
    ".h5": ("weights", "anything"),
    ".binaryproto": ("mean", "anything"),
    ".npy": ("mean", "anything"),
    ".png": ("picture", "anything"),
}
"""Which targets a file's name asks for; a file of another name is tried as `anything`."""


def of_file(path: str) -> tuple[str, ...]:
    """The targets for a file."""
    return BY_ENDING.get(os.path.splitext(path)[1], ("anything",))


def quiet() -> None:
    """Warnings are no outcome."""
    warnings.simplefilter("ignore")
