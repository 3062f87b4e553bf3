"""Integrals of gradients on the straight way from a baseline to an image.

A net of rectifiers and maxima has a gradient with steps in it, where any rule of fixed places is off by a step's size
times the distance of places. What the score gains between two places is known from forward passes, so that it is known
where a rule is off, and by how much: there, and only there, more places are taken.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy import device
from caffepy.saliency.operations import path_forward, slopes_forward, weighted_powers
from caffepy.saliency.subject import Subject, uploaded, zeros

Doubles = npt.NDArray[np.float64]

MOST = 20
"""Times as many gradients as at first, and no more."""
_ROUNDING = 1e-5
"""Of a score's size: what is less than that is not worth a refinement."""


@dataclass(frozen=True)
class Way:
    """From `start` to image n of a subject; `sums` gathers each goal's weighted gradients, (1, channels, h, w)."""

    subject: Subject
    n: int
    start: Any
    sums: list[Any]

    def add(self, places: Doubles, weights: Doubles) -> tuple[Doubles, Doubles]:
        """sums += weights * dS/dx at the places, parts of the way; gives dS/d(place) and S there, (goals, places)."""
        slopes, scores = np.empty((2, len(self.sums), len(places)))
        for chunk in self.subject.chunks(len(places)):
            part = slice(chunk.start, chunk.stop)
            there = self._at(places[part])
            of_chunk, found = uploaded(weights[part]), zeros((len(chunk),))
            for g, gradient in enumerate(there.gradients()):
                weighted_powers(gradient, of_chunk, len(chunk), 1, self.sums[g])
                slopes_forward(gradient, self.start, self._end, self._end.size, found)
                slopes[g, part] = device.downloaded(found)
            scores[:, part] = there.scores()
        return slopes, scores

    def scores(self, places: Doubles) -> Doubles:
        """S at the places, (goals, places)."""
        chunks = self.subject.chunks(len(places))
        return np.concatenate([self._at(places[c.start : c.stop]).scores() for c in chunks], axis=1).astype(np.float64)

    @property
    def _end(self) -> Any:
        return self.subject.images[self.n : self.n + 1]

    def _at(self, places: Doubles) -> Subject:
        path = zeros((len(places), *self.subject.shape[1:]))
        path_forward(self.start, self._end, self._end.size, 0, uploaded(places), path)
        return self.subject.on(path, [self.n] * len(places))


@dataclass
class _Cells:
    """Pieces of the way, each with one gradient's part of the integral."""

    places: Doubles
    """(3, cells): where each begins, where its gradient is of, and where it ends."""
    scores: Doubles
    """(goals, 3, cells): S there."""
    parts: Doubles
    """(goals, cells): the gradient's part of what the score gains."""

    @property
    def errors(self) -> Doubles:
        """(goals, cells): by how much the part is off."""
        return self.parts - (self.scores[:, 2] - self.scores[:, 0])

    def split(self, chosen: npt.NDArray[np.int64], way: Way) -> None:
        """Make two of each chosen cell: its gradient is taken back, and those amid both halves are added."""
        low, middle, high = self.places[:, chosen]
        lows, highs = np.concatenate([low, middle]), np.concatenate([middle, high])
        middles = (lows + highs) / 2
        places = np.concatenate([middle, middles])
        slopes, scores = way.add(places, np.concatenate([low - high, highs - lows]))
        slopes, scores = slopes[:, len(low) :], scores[:, len(low) :]
        at_low, at_middle, at_high = self.scores[:, :, chosen].transpose(1, 0, 2)
        made = np.concatenate([at_low, at_middle], axis=1), scores, np.concatenate([at_middle, at_high], axis=1)
        self.places = np.concatenate([np.delete(self.places, chosen, axis=1), np.stack([lows, middles, highs])], axis=1)
        self.scores = np.concatenate([np.delete(self.scores, chosen, axis=2), np.stack(made, axis=1)], axis=2)
        self.parts = np.concatenate([np.delete(self.parts, chosen, axis=1), (highs - lows) * slopes], axis=1)


def integrate(way: Way, steps: int, error: float | None) -> None:
    """Let the way's sums be the mean of dS/dx on it.

    Gauss and Legendre's rule at `steps` places; where their sum is off by more than `error`, in parts of what the score
    gains, the cells that are off the most are halved until it is not.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    middles, widths = (nodes + 1) / 2, weights / 2
    slopes, scores = way.add(middles, widths)
    if error is None:
        return
    ends = way.scores(np.array([0.0, 1.0]))
    bearable = np.maximum(error * abs(ends[:, 1] - ends[:, 0]), _ROUNDING * abs(ends).max(axis=1))
    if (abs(slopes @ widths - (ends[:, 1] - ends[:, 0])) <= bearable).all():
        return
    edges = np.concatenate([[0.0], np.cumsum(widths)[:-1], [1.0]])  # each node lies between its own two
    inner = way.scores(edges[1:-1]) if steps > 1 else ends[:, :0]
    at_edges = np.concatenate([ends[:, :1], inner, ends[:, 1:]], axis=1)
    places = np.stack([edges[:-1], middles, edges[1:]])
    cells = _Cells(places, np.stack([at_edges[:, :-1], scores, at_edges[:, 1:]], axis=1), widths * slopes)
    each = max(1, steps // 3)
    for _ in range(MOST):
        off = cells.errors
        if (abs(off.sum(axis=1)) <= bearable).all():
            return
        worst = np.argsort(-(abs(off) / bearable[:, None]).max(axis=0), kind="stable")[:each]
        cells.split(worst, way)
