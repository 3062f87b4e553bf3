"""Hand-made hostile files: each ends in a result or an error of caffepy's, within 5 s of CPU time and 1 GiB."""

import os

import pytest

from tests.fuzz import cage
from tests.fuzz.targets import of_file
from tests.shared import shared

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="trials fork, which this system cannot")


@pytest.mark.parametrize("engine", ["auto", "numpy"])
def test_every_hostile_file(engine):
    paths = sorted(shared("hostile").iterdir())
    trials = [(target, path) for path in paths for target in of_file(path.name)]
    if engine == "numpy":  # readers are the same
        trials = [(target, path) for target, path in trials if target in ("model", "trained")]
    outcomes = cage.run(trials, CAFFEPY_CPU=engine)
    assert len(outcomes) == len(trials) > 400
    bad = [f"{o.target} {o.path}: {o.kind} {o.text}" for o in outcomes if not o.good]
    assert not bad, "\n".join(bad)
