"""Embed: rows of a table, looked up."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import register
from caffepy.layers.basis.labels import LabelChecks, counted_labels
from caffepy.layers.basis.rows import gather_forward
from caffepy.layers.common.inner_product import inner_product_backward_bias
from caffepy.layers.common.scale import scale_forward


@register("Embed", bottoms=1, tops=1)
class Embed(LabelChecks):
    """indices of any shape -> (..., num_output); top[m] = weight[index[m]] + bias (Caffe: embed_layer.cpp).

    Weights: (input_dim, num_output); bias (num_output). Indices are floats, of which the whole part counts.
    """

    reads = ()
    param_diffs_later = True
    label_bottom = 0
    label_words = "index", "rows of the table", "mend it, or raise embed_param: input_dim"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.embed_param
        if p.num_output < 1 or p.input_dim < 1:
            raise self.error(f"num_output and input_dim must be at least 1, got {p.num_output} and {p.input_dim}")
        self.input_dim, self.num_output = p.input_dim, p.num_output
        self.add_weights((self.input_dim, self.num_output), p.weight_filler)
        if p.bias_term:
            self.add_weights((self.num_output,), p.bias_filler)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.settle_check()
        self.num = math.prod(bottom_shapes[0])
        return [(*bottom_shapes[0], self.num_output)]

    def differentiable(self, bottom_index: int) -> bool:
        return False

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.check_labels(bottom[0], self.input_dim)
        gather_forward(self.params[0].data, bottom[0].data.reshape(-1), self.input_dim, self.num, top[0].data)
        if len(self.params) > 1:
            scale_forward(top[0].data, None, self.params[1].data, self.num, self.num_output, 1, None, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if self.param_propagate_down[0]:
            embed_backward_weights(bottom[0].data, top[0].diff, self.input_dim, self.num_output, self.params[0].diff)
        if len(self.params) > 1 and self.param_propagate_down[1]:
            inner_product_backward_bias(top[0].diff, self.params[1].diff)


@kernel("embed.cu", rows="index_data")
def embed_backward_weights(
    index_data: Floats, top_diff: Floats, input_dim: int, num_output: int, weight_diff: Floats
) -> None:
    """weight_diff[k] += sum of the top_diff[m] whose index[m] is k"""
    counted, chosen = counted_labels(index_data, index_data.size, input_dim, 1)
    places = chosen.reshape(-1)[counted.reshape(-1)]
    np.add.at(weight_diff, places, top_diff.reshape(-1, num_output)[counted.reshape(-1)])
