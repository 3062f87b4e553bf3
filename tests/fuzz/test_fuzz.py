"""Inputs made by chance, from fixed seeds; an input that fails belongs in found/, where it is tried for ever."""

import os

import pytest

from tests.fuzz import campaign
from tests.fuzz.mutate import Mutator

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="trials fork, which this system cannot")

INPUTS = {"layers": 1200, "datum": 20_000, "hdf5": 600, "load_image": 800}
"""For each target; of others 1500."""
HOUR = 3600


def check(result: campaign.Result, tmp_path) -> None:
    lines = []
    for (kind, where), data in result.failures.items():
        path = tmp_path / f"{result.target}-{len(lines)}"
        path.write_bytes(data)
        lines.append(f"{kind} {where}: {path}, {len(data)} bytes, {data[:60]!r} ...")
    assert not lines, "\n".join([f"{result.target}: {dict(result.outcomes)}", *lines])


@pytest.mark.parametrize("target", campaign.targets())
def test_some_inputs(target, tmp_path):
    inputs = INPUTS.get(target, 1500)
    result = campaign.apart(target, inputs=inputs, seed=1)
    assert sum(result.outcomes.values()) == inputs
    assert min(result.outcomes["done"], result.outcomes["refused"]) > inputs / 500, "nothing is tried but one way out"
    check(result, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("target", campaign.targets())
def test_an_hour(target, tmp_path):
    seed = int.from_bytes(os.urandom(4), "little")
    print(f"{target}: seed {seed}")
    check(campaign.apart(target, seconds=HOUR / len(campaign.targets()), seed=seed), tmp_path)


def test_what_fails_is_found(monkeypatch, tmp_path):
    """A reader with planted faults: an exception, an endless loop, a signal."""

    def reader(data: bytes) -> None:
        if b"\xff" in data:
            raise KeyError("planted")
        if data[:1] == b"\x80":
            while True:
                pass
        if data[:1] == b"\x7f":
            os.kill(os.getpid(), 9)

    planted = campaign.Target(reader, lambda: [b"a", b"b"])
    monkeypatch.setitem(campaign.READERS, "planted", planted)
    monkeypatch.setattr(campaign, "SECONDS", 0.05)
    result = campaign.run("planted", inputs=300, seed=3)
    assert sum(result.outcomes.values()) == 300
    assert {kind for kind, _ in result.failures} == {"foreign", "late", "died"}
    with pytest.raises(AssertionError, match=r"foreign KeyError 'planted'"):
        check(result, tmp_path)
    result.failures = {outcome: data for outcome, data in result.failures.items() if outcome[0] == "died"}
    (data,) = result.failures.values()
    assert data[:1] == b"\x7f"


def test_a_seed_makes_the_same_inputs():
    first, second = (Mutator(5, [b"token"]) for _ in range(2))
    made = [first(bytes(40), b"other") for _ in range(50)]
    assert made == [second(bytes(40), b"other") for _ in range(50)]
    assert len(set(made)) > 40
    assert any(b"token" in data for data in made)
