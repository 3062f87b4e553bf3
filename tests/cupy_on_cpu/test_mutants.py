"""Bugs planted in caffepy/device/cuda.py and cuda_order.py: for each there is a check that sees it."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caffepy import device
from caffepy.device import cuda, cuda_order
from tests.cupy_on_cpu import checks, standin

pytestmark = [pytest.mark.gpu, standin.needed()]

MUTANTS = {
    "a pass does not wait for its caller": (
        "                queue.stream.wait_event(queue.reached)\n",
        "",
        "written_on_the_callers_stream",
    ),
    "the caller does not wait for the pass": (
        "for caller in later.values():",
        "for caller in (self._cupy.cuda.Stream.null,):",
        "written_on_the_callers_stream",
    ),
    "the null stream does not wait": (
        "for caller in (*callers, self._cupy.cuda.Stream.null)}",
        "for caller in callers}",
        "a_result_kept_for_the_null_stream",
    ),
    "a pass does not wait for what was done outside": (
        "                queue.stream.wait_event(event)\n",
        "                pass\n",
        "prepared_outside_of_the_stream",
    ),
    "what is done outside does not wait for passes": (
        "            for queue in queues:\n",
        "            for queue in ():\n",
        "read_inside_of_another_stream",
    ),
    "an exception leaves its pass unordered": (
        "                self._thread.in_pass = outer\n",
        "                self._thread.in_pass = outer\n"
        "                if sys.exc_info()[0]:\n                    return\n",
        "an_exception_in_a_pass",
    ),
    "what is done outside does not wait for PyTorch": (
        "                stream.wait_event(other.record())\n",
        "                pass\n",
        "memory_that_torch_gave_back",
    ),
    "PyTorch does not wait for a pass": (
        "callers = [self._cupy.cuda.get_current_stream(), *self._torch_stream()]",
        "callers = [self._cupy.cuda.get_current_stream()]",
        "written_on_torchs_stream",
    ),
    "copies on another stream": (
        "                target.data.copy_from_device_async(source.data, source.nbytes)\n",
        "                with self._cupy.cuda.Stream(non_blocking=True):\n"
        "                    target.data.copy_from_device_async(source.data, source.nbytes)\n",
        "gradients_in_a_loop",
    ),
    "an upload is not waited for": (
        "            self.event.synchronize()\n",
        "            pass\n",
        "gradients_in_a_loop",
    ),
    "the host's memory is let go of": ("            self._uploads.append(upload)\n", "", "memory_given_back"),
}


@pytest.fixture
def lazily() -> Iterator[None]:
    with standin.order("lazy"):
        yield
    device.use()
    standin.fault()


def planted(old: str, new: str) -> Any:
    """caffepy.device.cuda's Cuda with `new` in place of `old`, there or in cuda_order."""
    (original,) = (module for module in (cuda, cuda_order) if old in text_of(module))
    text = text_of(original)
    assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
    mutant = made(original, text.replace(old, new))
    if original is cuda_order:
        order, mutant = mutant, made(cuda, text_of(cuda))
        mutant.__dict__["Order"] = order.Order
    return mutant.__dict__["Cuda"]


def text_of(module: types.ModuleType) -> str:
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def made(original: types.ModuleType, text: str) -> types.ModuleType:
    module = types.ModuleType("planted")
    module.__dict__["__name__"] = original.__name__
    exec(compile(text, f"planted {original.__name__}", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_seen(name: str, lazily: None) -> None:
    old, new, check = MUTANTS[name]
    device.use(planted(old, new)(0))
    device.set_mode_gpu()
    with pytest.raises(AssertionError):
        checks.ALL[check]()
