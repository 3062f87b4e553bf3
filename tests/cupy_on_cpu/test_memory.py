"""Memory of GPUs and page-locked memory of the host: given back to the last byte, and taken where it is used alone."""

import os
import subprocess
import sys
import textwrap

import pytest

from tests.cupy_on_cpu import standin

pytestmark = [pytest.mark.gpu, standin.needed()]

START = """
import gc
import numpy as np
from tests.cupy_on_cpu import standin
standin.install()
import caffepy as caffe
import cupy
from caffepy import saliency
from tests.nets import CHAIN, FORCED, make, noise

def held():
    gc.collect()
    caffe.device.gpu(0).synchronize()
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.get_default_pinned_memory_pool().free_all_blocks()
    return standin.held(0), standin.held(-1)

def used(net):
    for seed in range(3):
        net.forward(data=noise(2, 3, 8, 8, seed=seed))
        net.backward(fc=np.ones((2, 5)))
        net.gradient({"fc": 1})
    saliency.lrp(net, noise(2, 3, 8, 8), 1, output="fc")
"""


def said(code: str, mode: str = "gpu", **settings: str) -> str:
    """What a process of its own prints that starts with START."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{START}caffe.set_mode_{mode}()\n{textwrap.dedent(code)}"],
        env={**os.environ, "FAKECUDA_DEVICES": "2", "FAKECUDA_ORDER": "lazy", **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("end", ["net.close()", "del net"])
def test_every_byte_is_given_back(end: str) -> None:
    code = f"""
        net = make(FORCED)
        used(net)
        assert min(standin.held(0), standin.held(-1)) > 0
        {end}
        print(*held())
    """
    assert said(code) == "0 0"


def test_a_solver_gives_back_every_byte() -> None:
    code = """
        from tests.solver import golden
        run = golden.names("solvers")[0]
        with golden.opened("solvers", run) as solver:
            solver.step(3)
        solver.net.close()
        del solver
        print(*held())
    """
    assert said(code) == "0 0"


def test_what_a_net_gave_back_is_there_for_the_next_whatever_their_streams() -> None:
    code = """
        for place in range(4):
            with cupy.cuda.Stream(non_blocking=True) if place % 2 else cupy.cuda.Stream.null:
                net = make(CHAIN)
                net.blobs["data"].reshape(8000, 3, 8, 8)  # some 20 MiB in all
                net.forward()
                del net
        print("fine")
    """
    assert said(code, FAKECUDA_MEMORY="32") == "fine"


def test_large_arrays_take_as_much_page_locked_memory_as_they_are_long() -> None:
    code = """
        gpu = caffe.device.current()
        size = (1 << 20) + 4096
        before = standin.held(-1)
        array = gpu.host_zeros(size, np.float32)
        taken = standin.held(-1) - before
        assert 4 * size <= taken < 4 * size + 4096, taken
        del array
        print(standin.held(-1) - before)
    """
    assert said(code) == "0"


@pytest.mark.parametrize("thread", [False, True], ids=["the first thread", "another thread"])
def test_who_uses_gpu_1_alone_takes_nothing_of_gpu_0(thread: bool) -> None:
    code = f"""
        from threading import Thread
        net = make(FORCED, device=1)
        if {thread}:
            started = Thread(target=used, args=(net,))
            started.start()
            started.join()
        else:
            used(net)
        print(standin.contexts())
    """
    assert said(code, "cpu") == "[1]"
