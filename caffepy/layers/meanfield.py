"""MultiStageMeanfield: a dense conditional random field, its mean-field iterations unrolled (CRF as RNN)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import Layer, register
from caffepy.layers.permutohedral import Lattice
from caffepy.proto.caffe_pb2 import FillerParameter, MultiStageMeanfieldParameter


@dataclass(frozen=True)
class _Filter:
    """A Gaussian filter whose weights add up to 1 at each point."""

    lattice: Lattice
    scale: Floats

    @staticmethod
    def of(features: Floats) -> "_Filter":
        lattice = Lattice(features)
        sums = lattice.filter(np.ones((1, len(features)), np.float32))
        return _Filter(lattice, np.reciprocal(sums + np.float32(1e-20)))

    def __call__(self, values: Floats) -> Floats:
        return self.lattice.filter(values) * self.scale

    def derivative(self, diff: Floats) -> Floats:
        return self.lattice.filter(diff * self.scale, transposed=True)


@dataclass(frozen=True)
class _Step:
    """What backward needs of an iteration: shares of the labels, both filters' results, the message."""

    shares: Floats
    near: Floats
    alike: Floats
    message: Floats


@register("MultiStageMeanfield", bottoms=3, tops=1)
class MultiStageMeanfield(Layer):
    """unary (n, c, h, w), what to begin with (n, c, h, w), image (n, 3, h, w) -> (n, c, h, w).

    num_iterations times x = unary - C (S near(q) + B alike(q)) with q = softmax(x): near is a Gaussian filter of
    positions by theta_gamma, alike one of positions by theta_alpha and colours by theta_beta, each normalized. Weights:
    S, B and C, (1, 1, c, c); at first diagonal: spatial_filter_weight, bilateral_filter_weight and -1 (POTTS)
    (Zheng et al. 2015, CRF as RNN; Krahenbuhl & Koltun 2011). The filters run on a permutohedral lattice.
    """

    host = True
    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.p = self.param.multi_stage_meanfield_param
        if self.p.num_iterations < 1:
            raise self.error(f"num_iterations: {self.p.num_iterations}; give at least 1")
        for name in ("theta_alpha", "theta_beta", "theta_gamma"):
            if getattr(self.p, name) <= 0:
                raise self.error(f"{name}: {getattr(self.p, name):g}; give a number above 0")
        if self.p.compatibility_mode != MultiStageMeanfieldParameter.POTTS:
            raise self.error("compatibility_mode: only POTTS is there; the matrix can be loaded as a weight")
        channels = self.expect_axes(bottom_shapes, 0, 4)[1]
        for _ in range(3):
            self.add_weights((1, 1, channels, channels), FillerParameter())

    def fill(self, index: int) -> None:
        """The diagonal matrices to begin with."""
        value = (self.p.spatial_filter_weight, self.p.bilateral_filter_weight, -1)[index]
        np.fill_diagonal(self.blobs[index].data[0, 0], value)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        unary, begin, image = (self.expect_axes(bottom_shapes, i, 4) for i in range(3))
        channels = self.blobs[0].shape[3]
        if begin != unary or unary[1] != channels or image != (unary[0], 3, *unary[2:]):
            raise self.error(
                f"bottoms of shapes {unary}, {begin} and {image}; give two of (n, {channels}, h, w) and an image of "
                "(n, 3, h, w)"
            )
        self.near = _Filter.of(self._positions(unary, self.p.theta_gamma))
        return [unary]

    @staticmethod
    def _positions(shape: Shape, theta: float) -> Floats:
        y, x = np.mgrid[: shape[2], : shape[3]].reshape(2, -1).astype(np.float32)
        return np.stack([x, y], axis=1) / np.float32(theta)

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        near, alike, compatible = (weight.data[0, 0] for weight in self.params)
        self.steps: list[list[_Step]] = []
        self.alike: list[_Filter] = []
        positions = self._positions(bottom[0].shape, self.p.theta_alpha)
        for unary, x, image, out in zip(*(b.data for b in bottom), top[0].data, strict=True):
            colours = image.reshape(3, -1).T / np.float32(self.p.theta_beta)
            self.alike.append(_Filter.of(np.concatenate([positions, colours], axis=1)))
            unary, x, steps = unary.reshape(len(unary), -1), x.reshape(len(x), -1), []
            for _ in range(self.p.num_iterations):
                q = _softmax(x)
                s, b = self.near(q), self.alike[-1](q)
                steps.append(_Step(q, s, b, near @ s + alike @ b))
                x = unary - compatible @ steps[-1].message
            self.steps.append(steps)
            out[...] = x.reshape(out.shape)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        weights = self.params
        near, alike, compatible = (weight.data[0, 0] for weight in weights)
        for n, steps in enumerate(self.steps):
            dx = top[0].diff[n].reshape(len(near), -1)
            d_unary = np.zeros_like(dx)
            for step in reversed(steps):
                d_unary += dx
                d_message = -compatible.T @ dx
                for wanted, weight, slope in zip(
                    self.param_propagate_down,
                    weights,
                    ((d_message, step.near), (d_message, step.alike), (-dx, step.message)),
                    strict=True,
                ):
                    if wanted:
                        weight.diff[0, 0] += slope[0] @ slope[1].T
                dq = self.near.derivative(near.T @ d_message) + self.alike[n].derivative(alike.T @ d_message)
                dx = step.shares * (dq - (step.shares * dq).sum(axis=0))
            for i, diff in enumerate((d_unary, dx)):
                if propagate_down[i]:
                    bottom[i].diff[n] = diff.reshape(bottom[i].shape[1:])

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index < 2


def _softmax(x: Any) -> Floats:
    shares: Floats = np.exp(x - x.max(axis=0))
    shares /= shares.sum(axis=0)
    return shares
