"""Maps by trial: parts of an image are covered, and the score is looked at."""

from collections.abc import Callable
from typing import Any

import numpy as np

from caffepy import device
from caffepy.blob import Floats
from caffepy.saliency.method import method
from caffepy.saliency.methods.paths import Baseline, baseline_of
from caffepy.saliency.operations import blend_forward, random_masks, weighted_powers, window_masks
from caffepy.saliency.subject import Subject, uploaded, zeros


@method("occlusion", "sum")
def occlusion(
    subject: Subject, window: int | None = None, stride: int | None = None, baseline: Baseline = None
) -> list[Any]:
    """How much the score falls when a window is covered, the mean over the windows that cover a place.

    Zeiler & Fergus 2014 (arXiv 1311.2901), section 4.2.

    window     its height and width; default: an eighth of the longer side
    stride     steps between windows; default: a quarter of the window
    baseline   what it is covered with
    """
    subject.at_input("occlusion")
    height, width = subject.shape[2:]
    side = max(1, max(height, width) // 8) if window is None else window
    step = max(1, side // 4) if stride is None else stride
    rows, columns = ([*range(0, max(n - side, 0), step), max(n - side, 0)] for n in (height, width))
    corners = np.array([(y, x) for y in rows for x in columns], np.int32)

    def cover(part: range, masks: Any) -> None:
        window_masks(uploaded(corners[part.start : part.stop], np.int32), height, width, side, side, masks)

    before, background = subject.scores(), uploaded(baseline_of(subject, baseline))
    sums, counts = _try(subject, len(corners), cover, background, covering=True)
    return [uploaded((counts * before[g][:, None, None] - sums[g]) / counts) for g in range(len(subject.goals))]


@method("rise", "sum", probability=True)
def rise(
    subject: Subject,
    masks: int = 1000,
    cells: int = 7,
    probability: float = 0.5,
    seed: int = 0,
    baseline: Baseline = None,
) -> list[Any]:
    """The mean of random masks, weighted by the score of what they let through (Petsiuk et al. 2018, 1806.07421).

    Less its own mean over the image, so that what lowers the score is below 0.

    masks        how many
    cells        of a mask, along each side
    probability  that a cell lets through
    """
    subject.at_input("rise")
    rng = np.random.default_rng(seed)
    height, width = subject.shape[2:]
    sides = -(-height // cells), -(-width // cells)
    grids = (rng.random((masks, cells + 1, cells + 1)) < probability).astype(np.float32)
    shifts = np.stack([rng.integers(0, side, masks) for side in sides], axis=1).astype(np.int32)

    def draw(part: range, made: Any) -> None:
        chosen = slice(part.start, part.stop)
        given = uploaded(grids[chosen]), uploaded(shifts[chosen], np.int32)
        random_masks(*given, cells + 1, *sides, height, width, made)

    sums, _ = _try(subject, masks, draw, uploaded(baseline_of(subject, baseline)), covering=False)
    maps = sums / np.float32(masks * probability)
    return [uploaded(of_goal) for of_goal in maps - maps.mean(axis=(2, 3), keepdims=True)]


def _try(
    subject: Subject, count: int, write: Callable[[range, Any], None], background: Any, *, covering: bool
) -> tuple[Floats, Floats]:
    """(goals, N, height, width): the sum of masks times scores; (N, height, width): the sum of masks.

    covering   a mask says what the background covers, not what is let through
    """
    num, channels, height, width = subject.shape
    inner, sums = height * width, [zeros((num, height, width)) for _ in subject.goals]
    counts = zeros((num, height, width))
    for n in range(num):
        image, own = subject.images[n : n + 1], slice(n, n + 1)
        for part in subject.chunks(count):
            masks, tried = zeros((len(part), height, width)), zeros((len(part), channels, height, width))
            write(part, masks)
            sources = (background, image) if covering else (image, background)
            blend_forward(*sources, masks, channels, inner, tried)
            scores = subject.on(tried, [n] * len(part)).scores()
            weighted_powers(masks, uploaded(np.ones(len(part))), len(part), 1, counts[own])
            for total, of_goal in zip(sums, scores, strict=True):
                weighted_powers(masks, uploaded(of_goal), len(part), 1, total[own])
    return np.stack([device.downloaded(total) for total in sums]), device.downloaded(counts)
