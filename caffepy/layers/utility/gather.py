"""Rows of blobs taken by number: BatchReindex, Filter."""

from collections.abc import Sequence

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import Layer, State, register
from caffepy.layers.basis.labels import LabelChecks
from caffepy.layers.basis.rows import gather_backward, gather_forward


@register("BatchReindex", bottoms=2, tops=1)
class BatchReindex(LabelChecks):
    """rows (n, ...), places (m) -> (m, ...): top[r] = rows[places[r]] (Caffe: batch_reindex_layer.cpp).

    bottom_diff[b] = sum of the top_diff[r] whose places[r] is b. Places are floats, of which the whole part counts.
    """

    reads = ("bottom",)  # the places
    label_words = "place", "rows", "mend it"

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        rows, places = bottom_shapes
        self.expect_axes(bottom_shapes, 1, 1)
        if not rows:
            raise self.error(f"bottom {self.param.bottom[0]!r} must have 1 axis at least, got shape {rows}")
        self.rows, self.places = rows[0], places[0]
        self.settle_check()
        return [(places[0], *rows[1:])]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        self.check_labels(bottom[1], self.rows)
        gather_forward(bottom[0].data, bottom[1].data, self.rows, self.places, top[0].data)

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index == 0

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if propagate_down[0]:
            gather_backward(top[0].diff, bottom[1].data, self.rows, self.places, bottom[0].diff)


@register("Filter", bottoms=(2, None), tops=(1, None))
class Filter(Layer):
    """blobs (n, ...), a selector (n, 1...) -> of each blob the rows whose selector is not 0, in their order.

    How many that are, none included, each pass decides (Caffe: filter_layer.cpp). bottom_diff = top_diff in these rows,
    0 in the others; the selector has no derivative.
    """

    dynamic = True
    reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        if len(self.param.top) != len(self.param.bottom) - 1:
            raise self.error(
                f"give a top for each bottom but the last, the selector; got {len(self.param.bottom)} bottoms, "
                f"{len(self.param.top)} tops"
            )

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        *blobs, selector = bottom_shapes
        if not selector or any(extent != 1 for extent in selector[1:]):
            raise self.error(f"the selector, bottom {self.param.bottom[-1]!r}, has shape {selector}; give (n,)")
        for name, shape in zip(self.param.bottom, blobs, strict=False):
            if shape[:1] != selector[:1]:
                raise self.error(f"bottom {name!r} has shape {shape}; the selector {selector} needs {selector[0]} rows")
        return self._choose(np.ones(selector[0], np.float32), bottom_shapes)

    def resolve(self, bottom: Sequence[Arrays]) -> Sequence[Shape]:
        return self._choose(bottom[-1].data, [arrays.shape for arrays in bottom])

    def _choose(self, selector: Floats, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        """Settle which row of the bottoms each of the tops' is, and the other way round; the tops' shapes."""
        sources = np.flatnonzero(selector)
        targets = np.full(selector.size, -1)
        targets[sources] = np.arange(sources.size)
        self.rows, self.chosen = targets.size, sources.size
        self.sources: State = self.state("sources", sources.shape)
        self.targets: State = self.state("targets", targets.shape)
        self.sources.set(sources)
        self.targets.set(targets)
        return [(sources.size, *shape[1:]) for shape in bottom_shapes[:-1]]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        for b, t in zip(bottom, top, strict=False):
            gather_forward(b.data, self.sources.array, self.rows, self.chosen, t.data)

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index < len(self.param.bottom) - 1

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        for t, down, b in zip(top, propagate_down, bottom, strict=False):
            if down:
                gather_forward(t.diff, self.targets.array, self.chosen, self.rows, b.diff)
