"""Every kernel of the project under sanitizers: nothing is read or written that should not be, nothing races."""

import pytest

from caffepy.device import source
from tests.cuda_on_cpu import build, sanitize, sanitized_nets
from tests.cuda_on_cpu.module import Function, Module
from tests.gpu_mode import running


@pytest.mark.parametrize("kind", ["address", "thread"])
def test_sanitizers_say_nothing_of_the_kernels(kind: str) -> None:
    if reason := sanitize.unavailable(kind):
        pytest.skip(reason)
    outcome = sanitize.run(kind, ["-m", "tests.cuda_on_cpu.sanitized_nets"], timeout=1500)
    assert outcome.report == ""
    assert outcome.returncode == 0, outcome.output


def test_every_kernel_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {(file.name, name) for file in source.folder().rglob("*.cu") for name in build.kernels(file.read_text())}
    by_layers = set().union(*sanitized_nets.chosen().values())
    assert there - by_layers - _launched_by_other_packages(monkeypatch) == set()


def _launched_by_other_packages(monkeypatch: pytest.MonkeyPatch) -> set[sanitized_nets.Kernel]:
    found = set()

    def noted(module: Module, name: str) -> Function:
        found.add((module.file, name))
        return function(module, name)

    function = Module.function
    monkeypatch.setattr(Module, "function", noted)
    with running("gpu-ascending"):
        sanitized_nets.other_packages()
    return found
