"""MarginInnerProduct: scores by angle, in which the true class must win by a margin."""

import math
from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.kernels import kernel
from caffepy.layer import State, register
from caffepy.layers.basis.elementwise import copy_forward
from caffepy.layers.basis.labels import LabelChecks, counted_labels
from caffepy.layers.basis.rows import row_lengths, unit_rows
from caffepy.layers.common.inner_product import (
    inner_product_backward,
    inner_product_backward_weights,
    inner_product_forward,
    workspace_count,
)


@register("MarginInnerProduct", bottoms=2, tops=(1, 2))
class MarginInnerProduct(LabelChecks):
    """features (n, ...), labels (n of them) -> scores (n, num_output), and lambda (1).

    Liu et al. 2017 (SphereFace: margin_inner_product_layer.cpp). Each pass makes the weights' rows w of length 1.
    scores[n, j] = x w_j; with the margin m = 1, 2, 3 or 4 of type SINGLE, DOUBLE, TRIPLE or QUADRUPLE that of the
    label is (|x| psi(angle) + lambda x w) / (1 + lambda), where psi is cos(m angle), continued so that it falls all
    the way. lambda = max(lambda_min, base (1 + gamma i)^-power), i being iteration plus the passes so far. As there,
    the diff of x by |x| psi has the length of its top's diff, whatever its derivative's is, and the weights' diff is
    that of the product.

    Weights: (num_output, inputs).
    """

    reads = ("bottom",)
    param_reads = ("bottom",)
    updates_weights = True
    label_bottom = 1
    label_words = "label", "classes", "mend it, or raise num_output"

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p, features = self.param.margin_inner_product_param, bottom_shapes[0]
        if p.num_output < 1:
            raise self.error(f"num_output must be at least 1, got {p.num_output}")
        self.axis = self.canonical_axis(p.axis, features)
        self.margin, self.passes = p.type + 1, p.iteration
        self.outputs, self.inputs = p.num_output, math.prod(features[self.axis :])
        self.add_weights((p.num_output, self.inputs), p.weight_filler)

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        features, labels = bottom_shapes
        outputs = self.outputs
        self.num = math.prod(features[: self.axis])
        if math.prod(features[self.axis :]) != self.inputs or math.prod(labels) != self.num:
            raise self.error(
                f"bottom shapes {features} and {labels}: the weights {self.blobs[0].shape} need {self.inputs} values "
                f"from axis {self.axis} on, and a label for each of the {self.num} rows before it"
            )
        self.settle_check()
        self.strength: State = self.state("strength", (1,))
        self.weight_lengths: State = self.state("weight_lengths", (outputs,))
        self.lengths: State = self.state("lengths", (self.num,))
        self.cosines: State = self.state("cosines", (self.num,))
        self.along: State = self.state("along", (self.num,))
        self.score_diff: State = self.state("score_diff", (self.num, outputs))
        self.reserve_work(self.blobs[0].count * self.num)
        self.reserve_workspace(workspace_count(self.num, self.blobs[0].shape))
        return [(*features[: self.axis], outputs), (1,)][: len(self.param.top)]

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def prepare(self) -> None:
        p = self.param.margin_inner_product_param
        self.passes += 1
        self.strength.set(max(p.lambda_min, p.base * (1 + p.gamma * self.passes) ** -p.power))

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        weight, features, labels = self.params[0].data, bottom[0].data, bottom[1].data
        self.check_labels(bottom[1], self.outputs)
        strength, lengths = self.strength.array, self.lengths.array
        unit_rows(weight, self.inputs, self.weight_lengths.array)
        row_lengths(features, self.inputs, lengths)
        inner_product_forward(features, weight, None, self.workspace, top[0].data, transpose=False)
        margin_forward(labels, lengths, strength, self.outputs, self.cosines.array, top[0].data, margin=self.margin)
        for blob in top[1:]:
            copy_forward(strength, blob.data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        weight, features, top_diff = self.params[0], bottom[0].data, top[0].diff
        if self.param_propagate_down[0]:
            inner_product_backward_weights(features, top_diff, self.workspace, weight.diff, transpose=False)
        if propagate_down[0]:
            score_diff, along = self.score_diff.array, self.along.array
            known = bottom[1].data, self.lengths.array, self.cosines.array, self.strength.array
            margin_backward(top_diff, *known, self.outputs, along, score_diff, margin=self.margin)
            inner_product_backward(score_diff, weight.data, self.workspace, bottom[0].diff, transpose=False)
            margin_add_along(features, along, self.inputs, bottom[0].diff)


@kernel("margin_inner_product.cu", per="cosines")
def margin_forward(
    label_data: Floats,
    lengths: Floats,
    strength: Floats,
    classes: int,
    cosines: Floats,
    top_data: Floats,
    *,
    margin: int,
) -> None:
    """cosines[n] = top[n, label[n]] / lengths[n], then
    top[n, label[n]] = (lengths[n] * psi(cosines[n]) + strength * top[n, label[n]]) / (1 + strength)"""
    scores = top_data.reshape(-1, classes)
    counted, chosen = counted_labels(label_data, len(scores), classes, 1)
    place = chosen[:, 0]
    product = np.take_along_axis(scores, place, axis=1)[:, 0]
    cosines[...] = product / lengths
    with_margin = (lengths * _psi(cosines, margin)[0] + strength * product) / (1 + strength)
    np.put_along_axis(scores, place, np.where(counted[:, 0], with_margin, product)[:, None], axis=1)


@kernel("margin_inner_product.cu", per="score_diff")
def margin_backward(
    top_diff: Floats,
    label_data: Floats,
    lengths: Floats,
    cosines: Floats,
    strength: Floats,
    classes: int,
    along: Floats,
    score_diff: Floats,
    *,
    margin: int,
) -> None:
    """From the diff of the top those of the products x w, and along[n], what of x itself belongs to x's diff.

    With u = psi'(cos) and v = (psi(cos) - cos psi'(cos)) / |x|, the derivative of |x| psi being u w + v x, they are of
    (u w + v x) / sqrt(u^2 + v^2).
    """
    diff, scores = top_diff.reshape(-1, classes), score_diff.reshape(-1, classes)
    counted, chosen = counted_labels(label_data, len(scores), classes, 1)
    place = chosen[:, 0]
    own = np.take_along_axis(diff, place, axis=1)[:, 0]
    psi, slope = _psi(cosines, margin)
    rest = (psi - cosines * slope) / lengths
    size = np.sqrt(slope * slope + rest * rest) if margin > 1 else np.float32(1)
    there, part = counted[:, 0], own / (1 + strength)
    along[...] = np.where(there & (margin > 1), part * rest / size, np.float32(0))
    np.copyto(scores, diff)
    mixed = part * (slope / size + strength)
    np.put_along_axis(scores, place, np.where(there, mixed, own)[:, None], axis=1)


@kernel("margin_add_along.cu", per="bottom_diff")
def margin_add_along(bottom_data: Floats, along: Floats, inputs: int, bottom_diff: Floats) -> None:
    """bottom_diff[n] += along[n] * bottom[n]"""
    bottom_diff.reshape(-1, inputs)[...] += along[:, None] * bottom_data.reshape(-1, inputs)


def _psi(cosine: Floats, margin: int) -> tuple[Floats, Floats]:
    """psi and its slope at a cosine: (-1)^k cos(margin * angle) - 2 k, k counting the turns of cos(margin * angle)."""
    c, one = cosine, np.ones_like(cosine)
    if margin == 1:
        return c, one
    if margin == 2:
        turn = np.sign(c)
        return 2 * turn * c**2 - 1, 4 * turn * c
    if margin == 3:
        turn = np.sign(np.abs(c) - np.float32(0.5))
        return turn * (4 * c**3 - 3 * c) + np.sign(c) * (1 + turn) - 2, turn * (12 * c**2 - 3)
    turn = np.sign(c) * np.sign(2 * c**2 - 1)
    return turn * (8 * c**4 - 8 * c**2 + 1) + 2 * np.sign(c) + turn - 3, turn * (32 * c**3 - 16 * c)
