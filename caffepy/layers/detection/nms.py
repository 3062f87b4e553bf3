"""Non-maximum suppression of lists of candidates, and what is left of it as rows: operations of detection layers.

A list is an item's candidates of a class: those of `number` scores that are not NaN. Boxes are (items, number,
loc_classes, 4), with boxes of each class's own or one that all classes have in common. `kept` (lists, room) has the
numbers of the candidates that stay, best first, as far as `counts` (lists) says.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffepy.blob import Floats, Ints
from caffepy.kernels import Launch, kernel
from caffepy.layers.detection.boxes import best_first, suppress

SORTERS = 256
"""Threads of a block, as kernels/basis/sort.cuh wants them."""


def workspace_count(items: int, classes: int, number: int, room: int) -> int:
    """Elements of workspace that the operations need: two entries of two numbers for each candidate."""
    return 4 * items * classes * max(number, room)


@kernel("nms.cu", rows="counts", threads=SORTERS)
def nms(
    boxes: Floats,
    scores: Floats,
    loc_classes: int,
    classes: int,
    number: int,
    looked: int,
    room: int,
    threshold: float,
    eta: float,
    border: int,
    workspace: Floats,
    kept: Ints,
    counts: Ints,
) -> None:
    """Of each list's `looked` best, those stay that overlap none before them above the threshold, see `suppress`.

    No more than `room` stay.
    """
    of_lists = scores.reshape(counts.size, number)
    for index, of_list in enumerate(of_lists):
        candidates = np.flatnonzero(~np.isnan(of_list))
        order = candidates[best_first(of_list[candidates])[:looked]]
        own = _of_items(boxes, counts, classes, number, loc_classes)[
            index // classes, order, _box(index % classes, loc_classes)
        ]
        found = order[suppress(own, threshold, eta=eta, most=room, border=border)]
        counts.reshape(-1)[index] = len(found)
        kept.reshape(len(of_lists), room)[index, : len(found)] = found


def _per_item(entry: str, items: int, arguments: Sequence[str]) -> list[Launch]:
    return [Launch(entry, (items,), (SORTERS,), tuple(arguments))] if items else []


def _keep_best_plan(
    scores: Any, kept: Any, classes: int, number: int, room: int, most: int, workspace: Any, counts: Any
) -> list[Launch]:
    arguments = "scores", "kept", "classes", "number", "room", "most", "workspace", "counts"
    return _per_item("keep_best", counts.size // classes, arguments)


@kernel("nms.cu", plan=_keep_best_plan)
def keep_best(
    scores: Floats, kept: Ints, classes: int, number: int, room: int, most: int, workspace: Floats, counts: Ints
) -> None:
    """Of each item's lists together the `most` best stay: the first of each list, as many as `counts` says then."""
    items = counts.size // classes
    of_items, lists = scores.reshape(items, classes, number), kept.reshape(items, classes, room)
    for item, of_item in enumerate(counts.reshape(items, classes)):
        labels = np.repeat(np.arange(classes), of_item)
        best = best_first(_listed(of_items[item], lists[item], of_item))[:most]
        of_item[:] = np.bincount(labels[best], minlength=classes)


def _write_detections_plan(
    boxes: Any,
    scores: Any,
    kept: Any,
    counts: Any,
    loc_classes: int,
    classes: int,
    number: int,
    room: int,
    rows: Any,
    top_data: Any,
) -> list[Launch]:
    sizes = "loc_classes", "classes", "number", "room"
    arguments = "boxes", "scores", "kept", "counts", *sizes, "rows", "top_data"
    return _per_item("write_detections", counts.size // classes, arguments)


@kernel("nms.cu", plan=_write_detections_plan)
def write_detections(
    boxes: Floats,
    scores: Floats,
    kept: Ints,
    counts: Ints,
    loc_classes: int,
    classes: int,
    number: int,
    room: int,
    rows: Ints,
    top_data: Floats,
) -> None:
    """top (rows, 7) = item, class, score, box of what stays, item by item; if nothing does, item and -1 for each item.

    rows (1) = how many there are; what lies behind them stays as it is.
    """
    top, start = top_data.reshape(-1, 7), 0
    for index, of_list in enumerate(scores.reshape(counts.size, number)):
        item, label = divmod(index, classes)
        chosen = kept.reshape(counts.size, room)[index, : counts.reshape(-1)[index]]
        part = top[start : start + len(chosen)]
        part[:, 0], part[:, 1], part[:, 2] = item, label, of_list[chosen]
        part[:, 3:] = _of_items(boxes, counts, classes, number, loc_classes)[item, chosen, _box(label, loc_classes)]
        start += len(chosen)
    if not start:
        start = counts.size // classes
        top[:start] = -1
        top[:start, 0] = np.arange(start)
    rows[0] = start


def _write_regions_plan(
    boxes: Any,
    scores: Any,
    kept: Any,
    counts: Any,
    number: int,
    room: int,
    rows: Any,
    regions: Any,
    region_scores: Any,
) -> list[Launch]:
    arguments = "boxes", "scores", "kept", "counts", "number", "room", "rows", "regions", "region_scores"
    return _per_item("write_regions", counts.size, arguments)


@kernel("nms.cu", plan=_write_regions_plan)
def write_regions(
    boxes: Floats,
    scores: Floats,
    kept: Ints,
    counts: Ints,
    number: int,
    room: int,
    rows: Ints,
    regions: Floats,
    region_scores: Floats | None,
) -> None:
    """regions (rows, 5) = item, box, and region_scores (rows) of what stays, item by item; zeros behind them.

    rows (1) = how many there are.
    """
    regions[...] = 0
    start = 0
    for item, of_item in enumerate(scores.reshape(counts.size, number)):
        chosen = kept.reshape(counts.size, room)[item, : counts.reshape(-1)[item]]
        part = slice(start, start + len(chosen))
        regions[part, 0], regions[part, 1:] = item, _of_items(boxes, counts, 1, number, 1)[item, chosen, 0]
        if region_scores is not None:
            region_scores[part] = of_item[chosen]
        start = part.stop
    if region_scores is not None:
        region_scores[start:] = 0
    rows[0] = start


def _of_items(boxes: Floats, counts: Ints, classes: int, number: int, loc_classes: int) -> Floats:
    return boxes.reshape(counts.size // classes, number, loc_classes, 4)


def _box(label: int, loc_classes: int) -> int:
    return label if loc_classes > 1 else 0


def _listed(scores: Floats, kept: Ints, counts: Ints) -> Floats:
    """The scores of what stays of an item, list by list."""
    parts = [of_list[chosen[:count]] for of_list, chosen, count in zip(scores, kept, counts, strict=True)]
    return np.concatenate([np.empty(0, np.float32), *parts])
