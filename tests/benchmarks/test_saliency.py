"""`python -m benchmarks saliency` runs every method and says what it took."""

import pytest

from benchmarks import saliency, saliency_worker
from benchmarks.nets import NETS
from caffepy.saliency import METHODS


def test_every_method_has_a_line_and_peers_are_compared_with_what_they_have() -> None:
    compared = {name for names in saliency_worker.METHODS_OF.values() for name in names}
    assert compared <= set(METHODS)
    assert set(saliency_worker.OPTIONS) <= set(METHODS)
    assert set(saliency_worker.LAYERS) <= set(NETS)


def test_one_method_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saliency, "_there", lambda peer: False)
    found = saliency.measure("squeezenet", "gradient", 1, 1, 1)
    assert found["caffepy"]["images_per_second"] > 0
    assert found["caffepy"]["peak_mb"] >= 0
    assert saliency.line(found).startswith("squeezenet   gradient")
