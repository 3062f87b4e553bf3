"""The CPU's comparison: how results are compared, times summed up, and one real turn of our own engine."""

import pytest

from benchmarks import cpu


def test_differences_are_the_largest_of_sums_of_sizes_and_squares() -> None:
    checks = {
        "caffepy": {"forward": [0.0, 10.0, 4.0], "gradient": [5.0, 2.0, 1.0]},
        "torch": {"forward": [9.0, 10.0, 4.0], "gradient": [0.0, 2.5, 1.0]},
        "opencv": {"forward": [0.0, 10.0, 5.0]},
    }
    assert cpu._differences(checks) == {"torch": pytest.approx(0.2), "opencv": pytest.approx(0.2)}


def test_summaries_are_in_milliseconds() -> None:
    found = cpu.summary([0.001, 0.002, 0.003, 0.004])
    assert found == {"median": 2.5, "quartiles": [1.25, 3.75], "minimum": 1.0}


def test_an_engine_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "PEERS", {})
    result = cpu.measure("squeezenet", 1, 1, 1, 2)
    assert (result["net"], result["batch"], result["passes"], result["differences"]) == ("squeezenet", 1, 2, {})
    for what in ("forward", "gradient"):
        assert 0 < result[what]["caffepy"]["minimum"] <= result[what]["caffepy"]["median"]
        assert result[what]["caffepy"]["cpu"] > 0
    assert {"Convolution", "Pooling", "Concat"} <= result["layers"].keys()
    assert sum(result["layers"]["Convolution"]["caffepy"]) > 0
