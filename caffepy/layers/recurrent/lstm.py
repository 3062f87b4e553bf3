"""LSTM, LSTMUnit, one step of it, and Lstm, as forks have it."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State, register
from caffepy.layers.activation.functions import clip_forward
from caffepy.layers.basis.elementwise import copy_forward
from caffepy.layers.recurrent.recurrent import Recurrent


@register("LSTM", bottoms=(2, 5), tops=(1, 3))
class LSTM(Recurrent):
    """x (T, N, ...), cont (T, N), optionally static (N, ...), with expose_hidden h and c before (1, N, D) -> top
    (T, N, D), with expose_hidden h and c after (1, N, D); D is num_output.

    (i, f, o, g) = W_x x[t] + b + W_s static + W_h (cont[t] * h[t-1]), each D values;
    c[t] = cont[t] * sigmoid(f) * c[t-1] + sigmoid(i) * tanh(g), top[t] = h[t] = sigmoid(o) * tanh(c[t])
    (Hochreiter & Schmidhuber 1997; Caffe: lstm_layer.cpp). cont is 0 where a sequence begins. Without expose_hidden
    the states after a forward pass are those before the next. As in Caffe no diff comes from or goes to exposed states.

    Weights: W_x (4 D, inputs), b (4 D), with static W_s (4 D, its inputs), W_h (4 D, D).
    """

    states = "h", "c"
    gates = 4

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        tops = super().reshape(bottom_shapes)
        num = bottom_shapes[0][1]
        self.cells: State = self.state("cells", (self.steps + 1, num, self.num_output))
        self.cell_diff: State = self.state("cell_diff", (num, self.num_output))
        return tops

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        cells = self.cells.array
        copy_forward(self.state_before(1, bottom), cells[:1])
        self.run(bottom, top)
        self.keep_state(0, top[0].data[self.steps - 1 : self.steps], top)
        self.keep_state(1, cells[self.steps : self.steps + 1], top)

    def step(self, t: int, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        cont, cells, gates = self.cont(bottom), self.cells.array, self.sums.array[t : t + 1]
        lstm_unit_forward(
            gates,
            self.hidden_sums.array,
            self.static_or_none(),
            cont[t : t + 1],
            self.next_of(cont, t),
            cells[t : t + 1],
            self.num_output,
            gates,
            cells[t + 1 : t + 2],
            top[0].data[t : t + 1],
            self.next_of(self.before.array, t),
        )

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        self.run_backward(top, propagate_down, bottom)

    def step_backward(self, t: int, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        cont, cells, cell_diff = self.cont(bottom), self.cells.array, self.cell_diff.array
        last = t + 1 == self.steps
        lstm_unit_backward(
            self.sums.array[t : t + 1],
            cont[t : t + 1],
            self.next_of(cont, t),
            cells[t : t + 1],
            cells[t + 1 : t + 2],
            top[0].diff[t : t + 1],
            None if last else self.hidden_diff.array,
            None if last else cell_diff,
            self.num_output,
            self.sums_diff.array[t : t + 1],
            cell_diff,
        )


@register("Lstm", bottoms=(1, 2), tops=1)
class Lstm(LSTM):
    """x (T, N, ...), optionally cont of T * N values -> top (T, N, D), D being num_output (CTPN: lstm_layer.cpp).

    LSTM's equations. Without cont every sequence begins at the first step and goes on to the last; with it the states
    after a forward pass are those before the next. clipping_threshold, if above 0, limits the diffs of a step's sums.

    Weights: W_x (4 D, inputs), W_h (4 D, D), b (4 D).
    """

    bias_place = 2
    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.lstm_param
        if p.num_output < 1:
            raise self.error(f"num_output must be at least 1, got {p.num_output}")
        self.num_output, self.limit, self.exposed, self.has_static = p.num_output, p.clipping_threshold, 0, False
        self.check(bottom_shapes)
        rows = self.gates * self.num_output
        self.add_weights((rows, math.prod(bottom_shapes[0][2:])), p.weight_filler)
        self.add_weights((rows, self.num_output), p.weight_filler)
        self.add_weights((rows,), p.bias_filler)

    def check(self, bottom_shapes: Sequence[Shape]) -> None:
        x = bottom_shapes[0]
        super().check([x, x[:2]])
        if any(math.prod(cont) != x[0] * x[1] for cont in bottom_shapes[1:]):
            raise self.error(
                f"bottom {self.param.bottom[1]!r} must have {x[0]} x {x[1]} values, one for each step of each "
                f"sequence, got shape {bottom_shapes[1]}"
            )

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        tops = super().reshape(bottom_shapes)
        self.going_on: State = self.state("going_on", bottom_shapes[0][:2])
        self.going_on.set(np.arange(self.steps)[:, None] > 0)
        return tops

    @property
    def hidden_place(self) -> int:
        return 1

    def cont(self, bottom: Sequence[Arrays]) -> Floats:
        going_on: Floats = self.going_on.array
        return bottom[1].data.reshape(going_on.shape) if len(bottom) > 1 else going_on

    def step_backward(self, t: int, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        super().step_backward(t, bottom, top)
        if self.limit > 0:
            sums_diff = self.sums_diff.array[t : t + 1]
            clip_forward(sums_diff, sums_diff, lowest=-self.limit, highest=self.limit)


@register("ContinuationIndicator", bottoms=0, tops=1)
class ContinuationIndicator(Layer):
    """Nothing -> (time_step, batch_size): 0 for the first step, 1 for the others (Intel and others)."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.continuation_indicator_param
        self.shape = p.time_step, p.batch_size
        if min(self.shape) < 1:
            raise self.error(f"time_step: {p.time_step} and batch_size: {p.batch_size} must be at least 1")

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.going_on: State = self.state("going_on", self.shape)
        self.going_on.set(np.broadcast_to(np.arange(self.shape[0])[:, None] > 0, self.shape))
        return [self.shape]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        copy_forward(self.going_on.array, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        pass


@register("LSTMUnit", bottoms=3, tops=2)
class LSTMUnit(Layer):
    """c (1, N, D), sums (1, N, 4 D), cont (1, N) -> c and h after the step, both (1, N, D).

    c' = cont * sigmoid(f) * c + sigmoid(i) * tanh(g), h = sigmoid(o) * tanh(c'), where (i, f, o, g) are the sums' four
    parts (Caffe: lstm_unit_layer.cpp).
    """

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        cell = bottom_shapes[0]
        if len(cell) != 3 or cell[0] != 1:
            raise self.error(f"bottom {self.param.bottom[0]!r} must be (1, sequences, outputs), got shape {cell}")
        num, self.num_output = cell[1:]
        for index, wanted in ((1, (1, num, 4 * self.num_output)), (2, (1, num))):
            if bottom_shapes[index] != wanted:
                raise self.error(
                    f"bottom {self.param.bottom[index]!r} must have shape {wanted}, got {bottom_shapes[index]}; bottom "
                    f"{self.param.bottom[0]!r} is {cell}"
                )
        self.gates: State = self.state("gates", bottom_shapes[1])
        return [cell, cell]

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index < 2

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        cell, sums, cont = (arrays.data for arrays in bottom)
        outputs = self.num_output, self.gates.array, top[0].data, top[1].data
        lstm_unit_forward(sums, None, None, cont, None, cell, *outputs, None)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        lstm_unit_backward(
            self.gates.array,
            bottom[2].data,
            None,
            bottom[0].data,
            top[0].data,
            top[1].diff,
            None,
            top[0].diff,
            self.num_output,
            bottom[1].diff if propagate_down[1] else None,
            bottom[0].diff if propagate_down[0] else None,
        )


@kernel("lstm.cu", per="cell")
def lstm_unit_forward(
    sums: Floats,
    hidden_sums: Floats | None,
    static_sums: Floats | None,
    cont: Floats,
    cont_next: Floats | None,
    cell_before: Floats,
    num_output: int,
    gates: Floats,
    cell: Floats,
    hidden: Floats,
    before_next: Floats | None,
) -> None:
    """gates (N, 4, D) = sigmoid of i, f and o, and tanh of g, where (i, f, o, g) = sums + hidden_sums + static_sums;
    cell = cont * f * cell_before + i * g, hidden = o * tanh(cell), before_next = cont_next * hidden.
    gates may be sums"""
    shape = -1, 4, num_output
    gate = gates.reshape(shape)
    gate[...] = sums.reshape(shape)
    for more in (hidden_sums, static_sums):
        if more is not None:
            gate += more.reshape(shape)
    gate[:, :3] *= np.float32(0.5)
    np.tanh(gate, out=gate)
    gate[:, :3] *= np.float32(0.5)
    gate[:, :3] += np.float32(0.5)
    i, f, o, g = gate.swapaxes(0, 1)
    c, h = cell.reshape(i.shape), hidden.reshape(i.shape)
    np.multiply(cont.reshape(-1, 1) * f, cell_before.reshape(i.shape), out=c)
    c += i * g
    np.multiply(o, np.tanh(c), out=h)
    if before_next is not None and cont_next is not None:
        np.multiply(cont_next.reshape(-1, 1), h, out=before_next.reshape(i.shape))


@kernel("lstm.cu", per="cell")
def lstm_unit_backward(
    gates: Floats,
    cont: Floats,
    cont_next: Floats | None,
    cell_before: Floats,
    cell: Floats,
    hidden_diff: Floats,
    before_next_diff: Floats | None,
    cell_diff: Floats | None,
    num_output: int,
    sums_diff: Floats | None,
    cell_before_diff: Floats | None,
) -> None:
    """The derivative of lstm_unit_forward, given the diffs of hidden, of before_next and of cell, 0 where missing:
    those of sums, and of cell_before, which may be cell_diff"""
    i, f, o, g = gates.reshape(-1, 4, num_output).swapaxes(0, 1)
    goes_on, squashed = cont.reshape(-1, 1), np.tanh(cell.reshape(i.shape))
    dh = hidden_diff.reshape(i.shape)
    if before_next_diff is not None and cont_next is not None:
        dh = dh + cont_next.reshape(-1, 1) * before_next_diff.reshape(i.shape)
    dc = dh * o * (1 - squashed * squashed)
    if cell_diff is not None:
        dc += cell_diff.reshape(i.shape)
    if sums_diff is not None:
        diff = sums_diff.reshape(-1, 4, num_output)
        diff[:, 0] = dc * g * i * (1 - i)
        diff[:, 1] = dc * cell_before.reshape(i.shape) * goes_on * f * (1 - f)
        diff[:, 2] = dh * squashed * o * (1 - o)
        diff[:, 3] = dc * i * (1 - g * g)
    if cell_before_diff is not None:
        np.multiply(dc, goes_on * f, out=cell_before_diff.reshape(i.shape))
