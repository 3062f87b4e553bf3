"""Initial weights: Caffe's fillers (include/caffe/filler.hpp), with Caffe's numbers where no normal ones are drawn."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from caffepy.blob import Floats
from caffepy.errors import CaffeError
from caffepy.proto.caffe_pb2 import FillerParameter
from caffepy.rng import generator, process


class Filler:
    """The filler of a blob of that shape, checked when the layer is set up."""

    def __init__(self, param: FillerParameter, shape: Sequence[int], error: Callable[[str], CaffeError]):
        self.param = param
        if param.type not in FILLERS:
            raise error(f"unknown filler type {param.type!r}; there are {', '.join(sorted(FILLERS))}")
        if param.sparse >= 0 and param.type != "gaussian":
            raise error(f"filler {param.type!r} has no sparse; only gaussian does")
        if param.sparse >= 0 and not shape:
            raise error("filler 'gaussian' has sparse, which counts outputs, and the weight blob is one number")
        if param.type == "uniform" and not _spans(param.min, param.max):
            raise error(f"filler 'uniform' draws from min: {param.min:g} to max: {param.max:g}; give numbers in order")
        if param.type == "bilinear" and (len(shape) != 4 or shape[2] != shape[3]):
            raise error(f"filler 'bilinear' needs a 4-D weight blob with square planes, got {tuple(shape)}")

    def fill(self, data: Floats) -> None:
        """Overwrite `data`."""
        if data.size:
            FILLERS[self.param.type](self, data)

    def fan(self, data: Floats) -> float:
        """The n that xavier and msra divide by: inputs, outputs or their mean, as variance_norm says."""
        fan_in: float = data.size / data.shape[0] if data.ndim else 1
        fan_out: float = data.size / data.shape[1] if data.ndim > 1 else data.size
        norm = self.param.variance_norm
        if norm == FillerParameter.AVERAGE:
            return (fan_in + fan_out) / 2
        return fan_out if norm == FillerParameter.FAN_OUT else fan_in


def constant(filler: Filler, data: Floats) -> None:
    """value everywhere."""
    data[...] = filler.param.value


def uniform(filler: Filler, data: Floats) -> None:
    """U(min, max)."""
    _uniform(data, filler.param.min, filler.param.max)


def gaussian(filler: Filler, data: Floats) -> None:
    """N(mean, std^2); with sparse = s, each weight is kept with probability s / (number of outputs)."""
    param = filler.param
    _normal(data, param.mean, param.std)
    if param.sparse >= 0:
        kept = process().bernoulli(data.size, float(np.float32(param.sparse / data.shape[0])), np.float32)
        data *= kept.reshape(data.shape)


def positive_unitball(filler: Filler, data: Floats) -> None:
    """U(0, 1), then each output's weights divided by their sum."""
    _uniform(data, 0, 1)
    rows = data.reshape(data.shape[0] if data.ndim else 1, -1)
    rows /= rows.sum(axis=1, keepdims=True)


def xavier(filler: Filler, data: Floats) -> None:
    """U(-a, a), a = sqrt(3 / n) (Glorot & Bengio 2010)."""
    scale = math.sqrt(3 / filler.fan(data))
    _uniform(data, -scale, scale)


def msra(filler: Filler, data: Floats) -> None:
    """N(0, 2 / (n (1 + alpha^2))), for a rectifier whose slope below zero is alpha (He, Zhang, Ren & Sun 2015)."""
    _normal(data, 0, math.sqrt(2 / (filler.fan(data) * (1 + filler.param.alpha**2))))


def bilinear(filler: Filler, data: Floats) -> None:
    """The kernel of bilinear upsampling, in every plane; symmetric for every size, as in Caffe since 2017."""
    size = data.shape[2]
    factor = math.ceil(size / 2)
    centre = (size - 1) / (2 * factor)
    ramp = 1 - np.abs(np.arange(size) / factor - centre)
    data[...] = np.outer(ramp, ramp)


FILLERS: dict[str, Callable[[Filler, Floats], None]] = {
    f.__name__: f for f in (constant, uniform, gaussian, positive_unitball, xavier, msra, bilinear)
}


def _spans(low: float, high: float) -> bool:
    """Whether there is a single-precision number of values between them."""
    with np.errstate(over="ignore", invalid="ignore"):
        return low <= high and bool(np.isfinite(np.float32(high) - np.float32(low)))


def _uniform(data: Floats, low: float, high: float) -> None:
    process().uniform(data, low, high)


def _normal(data: Floats, mean: float, std: float) -> None:
    generator().standard_normal(out=data, dtype=np.float32)
    data *= np.float32(std)
    data += np.float32(mean)
