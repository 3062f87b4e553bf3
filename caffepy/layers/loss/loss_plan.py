"""Losses on a GPU: what one block does alone."""

from typing import Any

from caffepy.kernels import Launch

MOST_THREADS = 1024


def label_check_plan(label_data: Any, classes: int, bad_label: Any, bad_value: Any, *, rule: Any) -> list[Launch]:
    """One block looks through all labels, so that the first in order is found whoever is fastest."""
    names = ("label_data", "classes", "bad_label", "bad_value")
    return [Launch("label_check", (1,), (MOST_THREADS,), (label_data.size, *names))]


def loss_sum_plan(parts: Any, normalizer: Any, divisor: float, top_data: Any) -> list[Launch]:
    """One block; there are no more parts than threads."""
    names = ("parts", "normalizer", "divisor", "top_data")
    return [Launch("loss_sum", (1,), (MOST_THREADS,), (parts.size, *names))]
