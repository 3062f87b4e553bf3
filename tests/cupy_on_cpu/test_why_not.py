"""Why a GPU cannot be used: what is amiss, and what to do."""

import os
import subprocess
import sys
from ctypes.util import find_library

import pytest

from caffepy.device.cuda_errors import advice, why_not
from tests.cupy_on_cpu import standin

stood_in = standin.needed()

ASK = "from tests.cupy_on_cpu import standin; standin.install(); from caffepy.device.cuda_errors import why_not; "


@pytest.mark.gpu
@stood_in
@pytest.mark.parametrize(
    ("settings", "index", "words"),
    [
        ({}, 0, "None"),
        ({}, 7, "there are 2 GPU(s), numbered from 0"),
        ({"FAKECUDA_DEVICES": "0"}, 0, "is there an NVIDIA GPU, and its driver installed?"),
        (
            {"FAKECUDA_DRIVER": "11040"},
            0,
            "the driver is older than CuPy's CUDA: update it, or install caffepy[cuda13]",
        ),
        ({"FAKECUDA_CAPABILITY": "61"}, 0, "its compute capability is 6.1, the kernels need 7.5 or more"),
        ({"CAFFEPY_TEST_IMAGE": "209"}, 0, "NVRTC is too old for this GPU: install a newer nvidia-cuda-nvrtc"),
        ({"CAFFEPY_TEST_IMAGE": "2"}, 0, "memory is out: close other nets"),
    ],
)
def test_it_says_what_is_amiss(settings: dict[str, str], index: int, words: str) -> None:
    image = settings.get("CAFFEPY_TEST_IMAGE")
    code = f"print(why_not({index}))"
    if image:  # the first call that can fail is that which loads the kernel
        code = f"why_not(0)\nwith standin.failing(1, {image}):\n    print(why_not({index}))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK + code],
        env={**os.environ, "FAKECUDA_DEVICES": "2", **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    assert words in done.stdout


@pytest.mark.gpu
@stood_in
@pytest.mark.skipif(find_library("cuda") is not None, reason="there is a driver here")
def test_a_machine_without_a_driver_is_told_so() -> None:
    code = "from caffepy.device.cuda_errors import why_not; print(why_not(0))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("no NVIDIA driver is installed here")


@pytest.mark.gpu
@stood_in
def test_every_call_may_fail_for_want_of_memory() -> None:
    assert why_not(0) is None
    for nth in range(1, 50):
        with standin.failing(nth, standin.MEMORY_ALLOCATION):
            said = why_not(0)
        if nth > standin.calls():
            return
        assert said is not None
        assert "memory is out" in said
        standin.fault()
    pytest.fail("it makes more calls than this test lets fail")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("Failed to find CUDA headers. Please install CUDA toolkit headers", "CuPy finds no CUDA headers"),
        ("CuPy failed to load libnvrtc.so.13: cannot open shared object file", "NVRTC, which compiles the kernels"),
        (
            'Failure finding "libnvrtc.so.13": No such file: libnvrtc.so.13\nlistdir("lib"):\n libcudadevrt.a',
            "NVRTC, which compiles the kernels",
        ),
        ("nvrtc: error: invalid value for --gpu-architecture (-arch)", "NVRTC is too old for this GPU"),
        ("CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered", "start it anew"),
        ("cudaErrorWhatever: never heard of", "device-query"),
    ],
)
def test_messages_of_cupy_lead_to_what_helps(error: str, words: str) -> None:
    assert words in advice(RuntimeError(error))
