"""Nets in plain float64 loops, forward and backward, with a rule for each layer type: slow and obvious.

Every version of a blob is kept, so that layers in place are nothing special here. `Slow(net)` reads the layers'
settings and weights from a caffepy net and computes all else itself.
"""

from collections.abc import Callable, Mapping
from itertools import product

import numpy as np

import caffepy as caffe

Array = np.ndarray
Backward = Callable[["Step", Array], list[Array]]
"""(a layer's step forward, what comes down to its top) -> what goes down to each of its bottoms."""


class Step:
    """One layer's pass: its bottoms, weights, top and, for a pooling maximum, where it was found."""

    def __init__(self, param, blobs: list[Array], bottoms: list[Array]) -> None:
        self.param, self.blobs, self.bottoms, self.type = param, blobs, bottoms, param.type
        self.top = getattr(self, f"_{self.type.lower()}")(*bottoms)

    # ---- forward

    def _relu(self, x: Array) -> Array:
        return np.where(x > 0, x, x * self.param.relu_param.negative_slope)

    def _tanh(self, x: Array) -> Array:
        return np.tanh(x)

    def _dropout(self, x: Array) -> Array:
        return x

    _split = _dropout

    def _softmax(self, x: Array) -> Array:
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def _convolution(self, x: Array) -> Array:
        return self.linear(x, self.blobs[0], self.blobs[1] if len(self.blobs) > 1 else None)

    def _innerproduct(self, x: Array) -> Array:
        return self.linear(x, self.blobs[0], self.blobs[1] if len(self.blobs) > 1 else None)

    def _batchnorm(self, x: Array) -> Array:
        mean, variance = self.blobs[0] / self.blobs[2], self.blobs[1] / self.blobs[2]
        shape = (1, -1, *[1] * (x.ndim - 2))
        return (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + self.param.batch_norm_param.eps)

    def _scale(self, x: Array) -> Array:
        shape = (1, -1, *[1] * (x.ndim - 2))
        return x * self.blobs[0].reshape(shape) + self.blobs[1].reshape(shape)

    def _concat(self, *xs: Array) -> Array:
        return np.concatenate(xs, axis=1)

    def _eltwise(self, *xs: Array) -> Array:
        return sum(xs)

    def _pooling(self, x: Array) -> Array:
        p = self.param.pooling_param
        height, width = x.shape[2:]
        kernel, stride = (height, 1) if p.global_pooling else (p.kernel_size, p.stride)
        out = [1, 1] if p.global_pooling else [-(-(n - kernel) // stride) + 1 for n in (height, width)]
        top = np.zeros((*x.shape[:2], *out))
        self.shares = []  # (top index, bottom index, share)
        for n, c, i, j in np.ndindex(*top.shape):
            rows = range(i * stride, min(i * stride + kernel, height))
            columns = range(j * stride, min(j * stride + (width if p.global_pooling else kernel), width))
            places = list(product(rows, columns))
            if p.pool == 0:
                best = max(places, key=lambda at: x[n, c, at[0], at[1]])
                top[n, c, i, j] = x[n, c, best[0], best[1]]
                self.shares.append(((n, c, i, j), (n, c, *best), 1.0))
            else:
                for at in places:
                    top[n, c, i, j] += x[n, c, at[0], at[1]] / len(places)
                    self.shares.append(((n, c, i, j), (n, c, *at), 1 / len(places)))
        return top

    # ---- what is linear, with weights of choice

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """The layer's weighted sums."""
        if self.type == "InnerProduct":
            y = x.reshape(len(x), -1) @ weight.T
            return y if bias is None else y + bias
        y = np.zeros(self._positions(x, weight))
        for o, weights in enumerate(weight):
            for (c, a, b), w in np.ndenumerate(weights):
                y[:, o] += w * self._seen(self._padded(x), a, b, y.shape)[:, c]
        return y if bias is None else y + bias.reshape(1, -1, 1, 1)

    def transposed(self, dy: Array, weight: Array) -> Array:
        """Its transpose."""
        x = self.bottoms[0]
        if self.type == "InnerProduct":
            return (dy @ weight).reshape(x.shape)
        dx = np.zeros_like(self._padded(x))
        for o, weights in enumerate(weight):
            for (c, a, b), w in np.ndenumerate(weights):
                self._seen(dx, a, b, dy.shape)[:, c] += w * dy[:, o]
        pad = self._pad()
        return dx[:, :, pad : dx.shape[2] - pad, pad : dx.shape[3] - pad]

    def _pad(self) -> int:
        p = self.param.convolution_param
        return p.pad[0] if p.pad else 0

    def _stride(self) -> int:
        p = self.param.convolution_param
        return p.stride[0] if p.stride else 1

    def _padded(self, x: Array) -> Array:
        pad = self._pad()
        return np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))

    def _positions(self, x: Array, weight: Array) -> tuple[int, ...]:
        reach = 2 * self._pad() - weight.shape[2]
        sizes = [(n + reach) // self._stride() + 1 for n in x.shape[2:]]
        return len(x), len(weight), *sizes

    def _seen(self, padded: Array, a: int, b: int, shape: tuple[int, ...]) -> Array:
        s = self._stride()
        return padded[:, :, a : a + s * shape[2] : s, b : b + s * shape[3] : s][:, :, : shape[2], : shape[3]]


def gradient(step: Step, dy: Array) -> list[Array]:
    """The derivative."""
    x = step.bottoms[0]
    if step.type == "ReLU":
        return [dy * np.where(x > 0, 1, step.param.relu_param.negative_slope)]
    if step.type == "TanH":
        return [dy * (1 - step.top**2)]
    if step.type in ("Dropout",):
        return [dy]
    if step.type in ("Convolution", "InnerProduct"):
        return [step.transposed(dy, step.blobs[0])]
    if step.type == "BatchNorm":
        variance = step.blobs[1] / step.blobs[2]
        return [dy / np.sqrt(variance + step.param.batch_norm_param.eps).reshape(1, -1, *[1] * (x.ndim - 2))]
    if step.type == "Scale":
        return [dy * step.blobs[0].reshape(1, -1, *[1] * (x.ndim - 2))]
    if step.type == "Concat":
        return np.split(dy, np.cumsum([b.shape[1] for b in step.bottoms])[:-1], axis=1)
    if step.type == "Eltwise":
        return [dy] * len(step.bottoms)
    if step.type == "Softmax":
        y = step.top
        return [y * (dy - (dy * y).sum(axis=1, keepdims=True))]
    assert step.type == "Pooling"
    dx = np.zeros_like(x)
    for at, source, share in step.shares:
        dx[source] += share * dy[at]
    return [dx]


class Slow:
    """A net's layers one after the other, in float64."""

    def __init__(self, net: caffe.Net) -> None:
        self.net = net
        self.steps: list[Step] = []

    def forward(self, image: Array) -> dict[str, Array]:
        """Every blob's last version."""
        blobs = {self.net.inputs[0]: np.asarray(image, np.float64)}
        self._read: list[list[tuple[str, int]]] = []
        versions = dict.fromkeys(blobs, 0)
        self.written: list[list[tuple[str, int]]] = []
        self.steps = []
        for layer in self.net.layers:
            if layer.type == "Input":
                continue
            self._read.append([(name, versions[name]) for name in layer.param.bottom])
            weights = [blob.data.astype(np.float64) for blob in layer.blobs]
            step = Step(layer.param, weights, [blobs[name] for name in layer.param.bottom])
            for name in layer.param.top:
                blobs[name] = step.top
                versions[name] = versions.get(name, -1) + 1
            self.written.append([(name, versions[name]) for name in layer.param.top])
            self.steps.append(step)
        return blobs

    def backward(self, name: str, diff: Array, rules: Mapping[str, Backward] | None = None, wrt: str = "") -> Array:
        """What reaches `wrt`'s first version (default: the input), of `diff` put into blob `name` as it is last."""
        rules = rules or {}
        last = max(version for tops in self.written for blob, version in tops if blob == name)
        coming: dict[tuple[str, int], Array] = {(name, last): np.asarray(diff, np.float64)}
        for step, read, written in reversed(list(zip(self.steps, self._read, self.written, strict=True))):
            tops = [coming[top] for top in written if top in coming]
            if not tops:
                continue
            down = [sum(tops)] if step.type == "Split" else rules.get(step.type, gradient)(step, tops[0])
            for bottom, part in zip(read, down, strict=True):
                coming[bottom] = coming.get(bottom, 0) + part
        return coming[wrt or self.net.inputs[0], 0]
