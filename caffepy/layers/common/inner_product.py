"""InnerProduct: every output a weighted sum of all inputs."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape, Weights
from caffepy.kernels import kernel, precision
from caffepy.layer import Layer, State, register
from caffepy.layers.basis.elementwise import rectify
from caffepy.layers.basis.rows import unit_rows
from caffepy.layers.common import inner_product_plan
from caffepy.proto.caffe_pb2 import TRAIN

PRODUCT = 1 << 18
"""Elements of a weight diff computed before they are added to what stands there."""


@register("InnerProduct", bottoms=1, tops=1)
class InnerProduct(Layer):
    """bottom (a..., b...), cut at `axis` -> top (a..., num_output); top[m, o] = bias[o] + sum over i of
    weight[o, i] * bottom[m, i], m over a..., i over b...

    Weights: (num_output, inputs), or with `transpose` (inputs, num_output); bias (num_output)
    (Caffe: inner_product_layer.cpp). With `normalize` (caffe-windows) each pass of TRAIN makes the weights of an output
    of length 1 first.
    """

    reads = ()
    param_diffs_later = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.inner_product_param
        if p.num_output < 1:
            raise self.error(f"num_output must be at least 1, got {p.num_output}")
        self.axis = self.canonical_axis(p.axis, bottom_shapes[0])
        self.num_output, self.transpose = p.num_output, p.transpose
        self.inputs = math.prod(bottom_shapes[0][self.axis :])
        self.normalizes = p.normalize and self.phase == TRAIN
        if self.normalizes and self.transpose:
            raise self.error("normalize: true is there without transpose only")
        self.updates_weights = self.normalizes
        shape = (self.inputs, self.num_output) if self.transpose else (self.num_output, self.inputs)
        self.add_weights(shape, p.weight_filler)
        if p.bias_term:
            self.add_weights((self.num_output,), p.bias_filler)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        bottom = bottom_shapes[0]
        if math.prod(bottom[self.axis :]) != self.inputs or len(bottom) < self.axis:
            raise self.error(
                f"bottom {self.param.bottom[0]!r} has shape {bottom}, from axis {self.axis} on "
                f"{math.prod(bottom[self.axis :])} values; the weights {self.blobs[0].shape} need {self.inputs}"
            )
        self.row_bottoms = (0,) if self.axis else ()
        self.reserve_work(self.blobs[0].count * math.prod(bottom[: self.axis]))
        self.reserve_workspace(workspace_count(math.prod(bottom[: self.axis]), self.blobs[0].shape))
        if self.normalizes:
            self.lengths: State = self.state("lengths", (self.num_output,))
        return [(*bottom[: self.axis], self.num_output)]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        if self.normalizes:
            unit_rows(self.params[0].data, self.inputs, self.lengths.array)
        bias = self.params[1].data if len(self.params) > 1 else None
        inner_product_forward(
            bottom[0].data, self._factors(), bias, self.workspace, top[0].data, transpose=self.transpose
        )

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        weight, top_diff = self.params[0], top[0].diff
        if self.param_propagate_down[0]:
            inner_product_backward_weights(
                bottom[0].data, top_diff, self.workspace, weight.diff, transpose=self.transpose
            )
        if len(self.params) > 1 and self.param_propagate_down[1]:
            inner_product_backward_bias(top_diff, self.params[1].diff)
        if propagate_down[0]:
            inner_product_backward(top_diff, self._factors(), self.workspace, bottom[0].diff, transpose=self.transpose)

    def _factors(self) -> Weights:
        """The weights; those that a pass writes itself stay as they are."""
        weight: Weights = self.params[0].data if self.normalizes else precision.weights(self.params[0])
        return weight


@kernel("inner_product_forward.cu", plan=inner_product_plan.forward)
def inner_product_forward(
    bottom_data: Floats,
    weight_data: Weights,
    bias_data: Floats | None,
    workspace: Floats,
    top_data: Floats,
    *,
    transpose: bool,
    negative_slope: float = 1.0,
) -> None:
    """top[m, o] = bias[o] + sum over i of weight[o, i] * bottom[m, i]; with transpose, of weight[i, o]

    What is below 0 is multiplied by negative_slope.
    """
    weight = weight_data if transpose else weight_data.T
    top = top_data.reshape(-1, weight.shape[1])
    np.matmul(bottom_data.reshape(-1, weight.shape[0]), weight, out=top)
    if bias_data is not None:
        top += bias_data
    if negative_slope != 1:
        rectify(top_data, negative_slope, top_data)


@kernel("inner_product_backward.cu", plan=inner_product_plan.backward)
def inner_product_backward(
    top_diff: Floats, weight_data: Weights, workspace: Floats, bottom_diff: Floats, *, transpose: bool
) -> None:
    """bottom_diff[m, i] = sum over o of weight[o, i] * top_diff[m, o]; with transpose, of weight[i, o]"""
    weight = weight_data.T if transpose else weight_data
    np.matmul(top_diff.reshape(-1, weight.shape[0]), weight, out=bottom_diff.reshape(-1, weight.shape[1]))


@kernel("inner_product_backward_weights.cu", plan=inner_product_plan.backward_weights)
def inner_product_backward_weights(
    bottom_data: Floats, top_diff: Floats, workspace: Floats, weight_diff: Floats, *, transpose: bool
) -> None:
    """weight_diff[o, i] += sum over m of top_diff[m, o] * bottom[m, i]; with transpose, weight_diff[i, o]"""
    rows, columns = weight_diff.shape
    outputs, inputs = (columns, rows) if transpose else (rows, columns)
    top, bottom = top_diff.reshape(-1, outputs), bottom_data.reshape(-1, inputs)
    left, right = (bottom, top) if transpose else (top, bottom)
    together = max(1, min(len(workspace), PRODUCT) // columns)
    for first in range(0, rows, together):
        part = weight_diff[first : first + together]
        product = workspace[: part.size].reshape(part.shape)
        np.matmul(left[:, first : first + together].T, right, out=product)
        part += product


@kernel("inner_product_bias.cu", plan=inner_product_plan.backward_bias)
def inner_product_backward_bias(top_diff: Floats, bias_diff: Floats) -> None:
    """bias_diff[o] += sum over m of top_diff[m, o]"""
    bias_diff += top_diff.reshape(-1, bias_diff.size).sum(axis=0)


def workspace_count(num: int, weight_shape: Shape) -> int:
    """Elements of workspace that the operations need for `num` vectors."""
    rows, columns = weight_shape
    product = min(rows * columns, max(PRODUCT, columns))
    return max(product, inner_product_plan.workspace_count(num, rows, columns))
