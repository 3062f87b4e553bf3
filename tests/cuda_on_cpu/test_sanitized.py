"""Every kernel of the project under sanitizers: nothing is read or written that should not be, nothing races."""

import pytest

from caffepy.device import source
from tests.cuda_on_cpu import build, sanitize, sanitized_nets


@pytest.mark.parametrize("kind", ["address", "thread"])
def test_sanitizers_say_nothing_of_the_kernels(kind: str) -> None:
    if reason := sanitize.unavailable(kind):
        pytest.skip(reason)
    outcome = sanitize.run(kind, ["-m", "tests.cuda_on_cpu.sanitized_nets"], timeout=1500)
    assert outcome.report == ""
    assert outcome.returncode == 0, outcome.output


def test_the_nets_launch_every_kernel() -> None:
    there = {(file.name, name) for file in source.folder().rglob("*.cu") for name in build.kernels(file.read_text())}
    assert there - set().union(*sanitized_nets.chosen().values()) == set()
