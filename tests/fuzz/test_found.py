"""Every input that ever failed, tried again."""

from pathlib import Path

from tests.fuzz import cage

FOUND = Path(__file__).parent / "found"


def test_nets_that_failed():
    lines = (FOUND / "nets.txt").read_text("utf-8").splitlines()
    outcomes = cage.run(("net", line) for line in lines)
    assert len(outcomes) == len(lines) > 20
    bad = [f"{outcome.kind} {outcome.text}\n    {outcome.path}" for outcome in outcomes if not outcome.good]
    assert not bad, "\n".join(bad)
