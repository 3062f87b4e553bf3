"""What recurrent layers share: their bottoms, the states they carry, and the products outside the loop over steps."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import Layer, State
from caffepy.layers.basis.elementwise import copy_forward
from caffepy.layers.common.inner_product import (
    inner_product_backward,
    inner_product_backward_bias,
    inner_product_backward_weights,
    inner_product_forward,
    workspace_count,
)
from caffepy.layers.common.scale import scale_forward
from caffepy.limits import STEP


class Recurrent(Layer):
    """x (T, N, ...), cont (T, N), optionally static (N, ...), with expose_hidden the states before, each (1, N, D) ->
    top (T, N, D), with expose_hidden the states after, each (1, N, D); D is num_output.

    At each step t an inner product of x[t], one of static and one of cont[t] * h[t-1] are added and make h[t]; cont is
    0 where a sequence begins and 1 where it goes on. Without expose_hidden the states after a forward pass are those
    before the next. As in Caffe no diff comes from or goes to exposed states (recurrent_layer.cpp).

    Weights, from the first: of x (gates * D, inputs), bias (gates * D), of static (gates * D, its inputs), if there is
    one, of h (gates * D, D).
    """

    reads: tuple[Literal["bottom", "top"], ...] = ("bottom",)  # cont
    states: ClassVar[tuple[str, ...]]
    """The states that go from step to step, h first."""
    gates: ClassVar[int]
    """Sums for each output."""
    bias_place: ClassVar[int] = 1
    """Which weight the bias is."""

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.recurrent_param
        if p.num_output < 1:
            raise self.error(f"num_output must be at least 1, got {p.num_output}")
        self.exposed = len(self.states) if p.expose_hidden else 0
        self.num_output, extra = p.num_output, len(bottom_shapes) - 2 - self.exposed
        if extra not in (0, 1) or len(self.param.top) != 1 + self.exposed:
            raise self.error(
                f"with expose_hidden: {str(p.expose_hidden).lower()} it takes {2 + self.exposed} bottoms, or one more, "
                f"and {1 + self.exposed} top(s); the prototxt gives {len(bottom_shapes)} and {len(self.param.top)}"
            )
        self.has_static = extra == 1
        self.check(bottom_shapes)
        rows = self.gates * self.num_output
        self.add_weights((rows, math.prod(bottom_shapes[0][2:])), p.weight_filler)
        self.add_weights((rows,), p.bias_filler)
        if self.has_static:
            self.add_weights((rows, math.prod(bottom_shapes[2][1:])), p.weight_filler)
        self.add_weights((rows, self.num_output), p.weight_filler)

    def check(self, bottom_shapes: Sequence[Shape]) -> None:
        """Raise the layer's error where the bottoms do not belong together."""
        x, cont = bottom_shapes[:2]
        if len(x) < 3 or x[0] < 1:
            raise self.error(f"bottom {self.param.bottom[0]!r} must be (steps, sequences, ...), got shape {x}")
        wanted = [(1, x[:2], cont)]
        if self.has_static:
            wanted.append((2, (x[1], *bottom_shapes[2][1:]), bottom_shapes[2]))
        wanted += [
            (i, (1, x[1], self.num_output), bottom_shapes[i]) for i in range(2 + self.has_static, len(bottom_shapes))
        ]
        for index, shape, found in wanted:
            if found != shape:
                raise self.error(
                    f"bottom {self.param.bottom[index]!r} must have shape {shape}, got {found}; the input is {x}, of "
                    f"{x[0]} steps and {x[1]} sequences, num_output is {self.num_output}"
                )

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.check(bottom_shapes)
        inputs = [math.prod(bottom_shapes[0][2:]), *[math.prod(s[1:]) for s in bottom_shapes[2 : 2 + self.has_static]]]
        if inputs != [blob.shape[1] for blob in (self.blobs[0], *self.blobs[2 : 2 + self.has_static])]:
            raise self.error(
                f"bottom shapes {list(bottom_shapes)} do not fit the weights; keep the inputs per sequence"
            )
        (self.steps, num), outputs = bottom_shapes[0][:2], self.num_output
        rows = self.gates * outputs
        weights = [blob.shape for blob in self.blobs if len(blob.shape) == 2]
        products = sum(math.prod(shape) for shape in weights) * num
        self.reserve_work(self.steps * (products + len(weights) * STEP))
        self.sums: State = self.state("sums", (self.steps, num, rows))
        self.sums_diff: State = self.state("sums_diff", (self.steps, num, rows))
        self.hidden_sums: State = self.state("hidden_sums", (num, rows))
        self.static_sums: State = self.state("static_sums", (num, rows))
        self.static_sums_diff: State = self.state("static_sums_diff", (num, rows))
        self.before: State = self.state("before", (self.steps, num, outputs))
        self.hidden_diff: State = self.state("hidden_diff", (num, outputs))
        self.carried = [self.state(f"carried_{name}", (1, num, outputs)) for name in self.states]
        self.reserve_workspace(max(workspace_count(n, shape) for n in (num, self.steps * num) for shape in weights))
        return [(self.steps, num, outputs), *[(1, num, outputs)] * self.exposed]

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0 or (bottom_index == 2 and self.has_static)

    def cont(self, bottom: Sequence[Arrays]) -> Floats:
        """(T, N): 0 where a sequence begins, 1 where it goes on."""
        values: Floats = bottom[1].data
        return values

    # ---- the states

    def state_before(self, index: int, bottom: Sequence[Arrays]) -> Floats:
        """State `index` (1, N, D) before the first step."""
        state: Floats = bottom[index - self.exposed].data if self.exposed else self.carried[index].array
        return state

    def keep_state(self, index: int, value: Floats, top: Sequence[Arrays]) -> None:
        """Write state `index` (1, N, D) after the last step."""
        copy_forward(value, top[1 + index].data if self.exposed else self.carried[index].array)

    # ---- the products, and the loop

    @property
    def hidden_place(self) -> int:
        """Which weight h is multiplied by."""
        return 2 + self.has_static

    def run(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        """The sums that do not depend on h, all steps at once; then step by step those that do, and `step`."""
        sums, before, hidden_sums = self.sums.array, self.before.array, self.hidden_sums.array
        weight, workspace = self.params[self.hidden_place].data, self.workspace
        inner_product_forward(
            bottom[0].data, self.params[0].data, self.params[self.bias_place].data, workspace, sums, transpose=False
        )
        if self.has_static:
            static_sums = self.static_sums.array
            inner_product_forward(bottom[2].data, self.params[2].data, None, workspace, static_sums, transpose=False)
        num, cont = sums.shape[1], self.cont(bottom)
        scale_forward(self.state_before(0, bottom), cont[:1], None, 1, num, self.num_output, None, before[:1])
        for t in range(self.steps):
            inner_product_forward(before[t : t + 1], weight, None, workspace, hidden_sums, transpose=False)
            self.step(t, bottom, top)

    def run_backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        """Step by step, from the last, the sums' diffs; then those of weights and bottoms, all steps at once."""
        sums_diff, hidden_diff, weight = self.sums_diff.array, self.hidden_diff.array, self.params[self.hidden_place]
        for t in range(self.steps - 1, -1, -1):
            self.step_backward(t, bottom, top)
            if t > 0:
                part = sums_diff[t : t + 1]
                inner_product_backward(part, weight.data, self.workspace, hidden_diff, transpose=False)
        self._multiply_back(0, bottom[0], sums_diff, propagate_down[0])
        if self.param_propagate_down[self.bias_place]:
            inner_product_backward_bias(sums_diff, self.params[self.bias_place].diff)
        if self.has_static and (self.param_propagate_down[2] or propagate_down[2]):
            total = self.static_sums_diff.array
            sum_over_steps(sums_diff, self.steps, total)
            self._multiply_back(2, bottom[2], total, propagate_down[2])
        if self.param_propagate_down[self.hidden_place]:
            before = self.before.array
            inner_product_backward_weights(before, sums_diff, self.workspace, weight.diff, transpose=False)

    def _multiply_back(self, index: int, bottom: Arrays, sums_diff: Floats, down: bool) -> None:
        """From the sums' diffs to those of weight `index` and of the bottom that it multiplies."""
        weight = self.params[index]
        if self.param_propagate_down[index]:
            inner_product_backward_weights(bottom.data, sums_diff, self.workspace, weight.diff, transpose=False)
        if down:
            inner_product_backward(sums_diff, weight.data, self.workspace, bottom.diff, transpose=False)

    def step(self, t: int, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        """From sums[t], hidden_sums and static_sums to h[t], and to before[t + 1] = cont[t + 1] * h[t]."""
        raise NotImplementedError

    def step_backward(self, t: int, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        """To sums_diff[t]; hidden_diff is the diff of before[t + 1], if there is one."""
        raise NotImplementedError

    # ---- parts of arrays at a step, (1, N, ...)

    def static_or_none(self) -> Floats | None:
        """The sums of the static input."""
        return self.static_sums.array if self.has_static else None

    def next_of(self, array: Floats, t: int) -> Floats | None:
        """The part of step t + 1, if there is one."""
        return array[t + 1 : t + 2] if t + 1 < self.steps else None


@kernel("recurrent.cu", per="total")
def sum_over_steps(values: Floats, steps: int, total: Floats) -> None:
    """total[i] = sum over t of values[t, i]"""
    values.reshape(steps, -1).sum(axis=0, out=total.reshape(-1))
