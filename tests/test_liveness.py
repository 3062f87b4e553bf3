"""Places in memory: what is needed at once never overlaps, and little room is wasted."""

import numpy as np
import pytest

from caffepy.blob.liveness import Span, places


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("alignment", [1, 64])
def test_what_is_needed_at_once_does_not_overlap(seed: int, alignment: int) -> None:
    rng = np.random.default_rng(seed)
    spans = {}
    for key in range(40):
        first = int(rng.integers(30))
        spans[key] = Span(first, first + int(rng.integers(6)), int(rng.integers(1, 1000)))
    starts, total = places(spans, alignment)
    for step in range(36):
        owner = np.full(total, -1)
        for key, span in spans.items():
            if span.first <= step <= span.last:
                taken = owner[starts[key] : starts[key] + span.size]
                assert len(taken) == span.size
                assert (taken == -1).all()
                taken[...] = key
    assert all(start % alignment == 0 for start in starts.values())
    assert total == max(starts[key] + span.size for key, span in spans.items())


def test_a_chain_takes_its_two_largest_neighbours() -> None:
    sizes = [10, 30, 20, 5, 8, 1]
    spans = {i: Span(i, i + 1, size) for i, size in enumerate(sizes)}
    assert places(spans)[1] == 30 + 20


def test_nothing_takes_nothing() -> None:
    assert places({}) == ({}, 0)
