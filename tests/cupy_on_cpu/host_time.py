"""The host's own time for a replayed pass: `python -m tests.cupy_on_cpu.host_time`, with what .ci/cupy installs.

The real CuPy calls a driver that does nothing, so what is left is Python's and CuPy's time: microseconds, the least of
many. Load on the machine makes it longer, never shorter.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import caffepy as caffe
from caffepy import device
from tests.cupy_on_cpu import standin
from tests.nets import make

DATA = (
    'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: {0} dim: {0} }} }} }}'
)
LAYER = """layer {{ name: "conv{0}" type: "Convolution" bottom: "{1}" top: "conv{0}" convolution_param {{
    num_output: 3 kernel_size: 3 pad: 1 }} }}
layer {{ name: "relu{0}" type: "ReLU" bottom: "conv{0}" top: "conv{0}" }}"""


def chain(pairs: int, size: int) -> str:
    """So many convolutions, each with a ReLU, over a square input."""
    layers = [LAYER.format(i, f"conv{i - 1}" if i else "data") for i in range(pairs)]
    return "\n".join([DATA.format(size), *layers])


class Passes:
    """Settled passes of a net: the diff comes from the GPU, and the gradient stays there."""

    def __init__(self, text: str) -> None:
        self.net = make(text)
        self.last, self.end = self.net.outputs[0], len(self.net.layers) - 1
        data = self.net.blobs["data"]
        data.data[...] = 1
        shape = self.net.blobs[self.last].shape
        self.diff, out = (device.current().zeros(int(np.prod(s)), np.float32).reshape(s) for s in (shape, data.shape))
        self.out = {"data": out}
        for _ in range(4):
            self.both()

    def forward(self) -> None:
        """As a script that leaves the result on the GPU."""
        self.net.forward_from_to(0, self.end)

    def gradient(self) -> None:
        """Of the last blob with respect to the input."""
        self.net.gradient({self.last: self.diff}, out=self.out)

    def both(self) -> None:
        """One after the other."""
        self.forward()
        self.gradient()


def least(body: Callable[[], Any], times: int = 2000) -> float:
    """Microseconds."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        body()
        found.append(time.perf_counter() - start)
    return 1e6 * min(found)


def main() -> None:
    """A line for each net."""
    standin.install()
    caffe.set_mode_gpu()
    with standin.order("never"):
        for pairs, size in ((5, 8), (120, 8), (5, 224)):
            passes = Passes(chain(pairs, size))
            figures = [f"{what} {least(getattr(passes, what)):5.1f}" for what in ("forward", "gradient", "both")]
            print(f"{2 * pairs + 1:4} layers, {size:3} x {size:3}: {', '.join(figures)} us")


if __name__ == "__main__":
    main()
