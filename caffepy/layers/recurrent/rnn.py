"""RNN: the plain recurrent net."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import State, register
from caffepy.layers.activation.tanh import tanh_backward, tanh_forward
from caffepy.layers.common.inner_product import (
    inner_product_backward,
    inner_product_backward_bias,
    inner_product_backward_weights,
    inner_product_forward,
)
from caffepy.layers.recurrent.recurrent import Recurrent


@register("RNN", bottoms=(2, 4), tops=(1, 2))
class RNN(Recurrent):
    """x (T, N, ...), cont (T, N), optionally static (N, ...), with expose_hidden h before (1, N, D) -> top (T, N, D),
    with expose_hidden h after (1, N, D); D is num_output.

    h[t] = tanh(W_x x[t] + b + W_s static + W_h (cont[t] * h[t-1])), top[t] = tanh(W_o h[t] + b_o)
    (Elman 1990; Caffe: rnn_layer.cpp). cont is 0 where a sequence begins. Without expose_hidden the state after a
    forward pass is that before the next. As in Caffe no diff comes from or goes to exposed states.

    Weights: W_x (D, inputs), b (D), with static W_s (D, its inputs), W_h (D, D), W_o (D, D), b_o (D).
    """

    states = ("h",)
    gates = 1
    reads = ("bottom", "top")
    param_reads = ("bottom", "top")

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        super().setup(bottom_shapes)
        p = self.param.recurrent_param
        self.add_weights((self.num_output, self.num_output), p.weight_filler)
        self.add_weights((self.num_output,), p.bias_filler)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        tops = super().reshape(bottom_shapes)
        self.hidden: State = self.state("hidden", tops[0])
        self.output_diff: State = self.state("output_diff", tops[0])
        self.output_hidden_diff: State = self.state("output_hidden_diff", tops[0])
        return tops

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.run(bottom, top)
        hidden, (weight, bias) = self.hidden.array, self.params[-2:]
        inner_product_forward(hidden, weight.data, bias.data, self.workspace, top[0].data, transpose=False)
        tanh_forward(top[0].data, top[0].data)
        self.keep_state(0, hidden[self.steps - 1 : self.steps], top)

    def step(self, t: int, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        rnn_unit_forward(
            self.sums.array[t : t + 1],
            self.hidden_sums.array,
            self.static_or_none(),
            self.next_of(bottom[1].data, t),
            self.num_output,
            self.hidden.array[t : t + 1],
            self.next_of(self.before.array, t),
        )

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        diff, (weight, bias) = self.output_diff.array, self.params[-2:]
        tanh_backward(top[0].data, top[0].diff, diff)
        if self.param_propagate_down[-2]:
            inner_product_backward_weights(self.hidden.array, diff, self.workspace, weight.diff, transpose=False)
        if self.param_propagate_down[-1]:
            inner_product_backward_bias(diff, bias.diff)
        inner_product_backward(diff, weight.data, self.workspace, self.output_hidden_diff.array, transpose=False)
        self.run_backward(top, propagate_down, bottom)

    def step_backward(self, t: int, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        rnn_unit_backward(
            self.hidden.array[t : t + 1],
            self.next_of(bottom[1].data, t),
            self.output_hidden_diff.array[t : t + 1],
            None if t + 1 == self.steps else self.hidden_diff.array,
            self.num_output,
            self.sums_diff.array[t : t + 1],
        )


@kernel("rnn.cu", per="hidden")
def rnn_unit_forward(
    sums: Floats,
    hidden_sums: Floats,
    static_sums: Floats | None,
    cont_next: Floats | None,
    num_output: int,
    hidden: Floats,
    before_next: Floats | None,
) -> None:
    """hidden = tanh(sums + hidden_sums + static_sums), before_next = cont_next * hidden"""
    shape = -1, num_output
    h = hidden.reshape(shape)
    np.add(sums.reshape(shape), hidden_sums.reshape(shape), out=h)
    if static_sums is not None:
        h += static_sums.reshape(shape)
    np.tanh(h, out=h)
    if before_next is not None and cont_next is not None:
        np.multiply(cont_next.reshape(-1, 1), h, out=before_next.reshape(shape))


@kernel("rnn.cu", per="hidden")
def rnn_unit_backward(
    hidden: Floats,
    cont_next: Floats | None,
    hidden_diff: Floats,
    before_next_diff: Floats | None,
    num_output: int,
    sums_diff: Floats,
) -> None:
    """sums_diff = (hidden_diff + cont_next * before_next_diff) * (1 - hidden^2)"""
    h = hidden.reshape(-1, num_output)
    dh = hidden_diff.reshape(h.shape)
    if before_next_diff is not None and cont_next is not None:
        dh = dh + cont_next.reshape(-1, 1) * before_next_diff.reshape(h.shape)
    np.multiply(dh, 1 - h * h, out=sums_diff.reshape(h.shape))
