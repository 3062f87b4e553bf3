"""Callers' own arrays, streams and threads on a real GPU; what an emulated device has none of."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy.device.cuda_order import _Foreign
from caffepy.errors import ArgumentError, DeviceError
from tests.gpu_mode import downloaded, running
from tests.nets import CHAIN, make, noise

pytestmark = pytest.mark.gpu

SPIN = """
extern "C" __global__ void spin(long long cycles) {
    for (long long start = clock64(); clock64() - start < cycles;) {}
}"""
CYCLES = 50_000_000
"""Some 30 ms: far longer than a pass of the net takes."""


@pytest.fixture(autouse=True)
def gpu() -> Iterator[Any]:
    with running("gpu-real") as real:
        yield real


@pytest.fixture
def net() -> caffe.Net:
    """After a forward pass and a gradient, so that what follows is captured and replayed."""
    net = make(CHAIN)
    net.forward(data=noise(2, 3, 8, 8))
    net.gradient({"fc": 1})
    return net


DIFF = noise(2, 5, seed=7)


def expected(diff: np.ndarray = DIFF) -> np.ndarray:
    """The gradient on the CPU."""
    caffe.set_mode_cpu()
    net = make(CHAIN)
    net.forward(data=noise(2, 3, 8, 8))
    found = net.gradient({"fc": diff})["data"]
    caffe.set_mode_gpu()
    return found


def agree(found: Any, diff: np.ndarray = DIFF) -> None:
    np.testing.assert_allclose(downloaded(found), expected(diff), rtol=1e-4, atol=1e-6)


def cuda_torch() -> Any:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch is built without CUDA")
    return torch


@pytest.mark.parametrize("library", ["cupy", "torch"])
def test_a_diff_of_the_callers_never_visits_the_host(
    library: str, net: caffe.Net, gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library == "cupy":
        diff = pytest.importorskip("cupy").asarray(DIFF)
    else:
        diff = cuda_torch().from_numpy(DIFF).cuda()
    monkeypatch.setattr(gpu, "download", lambda *_: pytest.fail("something was copied to the host"))
    monkeypatch.setattr(gpu, "upload", lambda *_: pytest.fail("something was copied from the host"))
    results = [net.gradient({"fc": diff})["data"] for _ in range(3)]
    monkeypatch.undo()
    for result in results:
        agree(result)


def test_torch_takes_the_result_without_a_copy(net: caffe.Net) -> None:
    torch = cuda_torch()
    result = net.gradient({"fc": DIFF})["data"]
    tensor = torch.from_dlpack(result)
    assert tensor.data_ptr() == result.data.ptr
    np.testing.assert_array_equal(tensor.cpu().numpy(), downloaded(result))
    assert torch.from_dlpack(net.blobs["fc"].gpu_data).shape == (2, 5)


@pytest.mark.parametrize("bad", [np.float64, "strided", "shape"])
def test_an_array_that_does_not_fit_is_refused(bad: Any, net: caffe.Net) -> None:
    cupy = pytest.importorskip("cupy")
    diff = {"strided": cupy.zeros((5, 2), np.float32).T, "shape": cupy.zeros(10, np.float32)}.get(
        bad, cupy.zeros((2, 5), np.float64)
    )
    with pytest.raises(ArgumentError, match=r"C-contiguous float32|does not fit"):
        net.gradient({"fc": diff})
    agree(net.gradient({"fc": DIFF})["data"])


def test_a_pass_waits_for_cupys_stream_and_cupy_for_the_pass(net: caffe.Net) -> None:
    cupy = pytest.importorskip("cupy")
    spin = cupy.RawKernel(SPIN, "spin")
    diff, late, out = (cupy.zeros((2, 5), np.float32), cupy.asarray(DIFF), cupy.zeros((2, 3, 8, 8), np.float32))
    cupy.cuda.Device().synchronize()
    for _ in range(3):
        with cupy.cuda.Stream(non_blocking=True) as stream:
            diff.fill(np.nan)
            spin((1,), (1,), (CYCLES,))
            cupy.copyto(diff, late)
            result = net.gradient({"fc": diff}, out={"data": out})["data"]
            kept = cupy.array(result)
            out.fill(np.nan)
            stream.synchronize()
        agree(kept)


def test_a_pass_waits_for_torchs_stream_and_torch_for_the_pass(net: caffe.Net) -> None:
    torch, cupy = cuda_torch(), pytest.importorskip("cupy")
    spin = cupy.RawKernel(SPIN, "spin")
    diff, late = torch.zeros(2, 5, device="cuda"), torch.from_numpy(DIFF).cuda()
    torch.cuda.synchronize()
    for _ in range(3):
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            with cupy.cuda.Stream.from_external(_Foreign(stream.cuda_stream)):
                spin((1,), (1,), (CYCLES,))
            diff.copy_(late)
            kept = torch.from_dlpack(net.gradient({"fc": diff})["data"]).clone()
            diff.fill_(torch.nan)
            stream.synchronize()
        np.testing.assert_allclose(kept.cpu().numpy(), expected(), rtol=1e-4, atol=1e-6)


def test_nets_on_streams_of_their_own_do_not_disturb_each_other() -> None:
    def passes(seed: int, times: int = 20) -> list[np.ndarray]:
        diff = noise(2, 5, seed=seed)
        found = []
        for _ in range(times):
            nets[seed].forward(data=noise(2, 3, 8, 8))
            found.append(downloaded(nets[seed].gradient({"fc": diff})["data"]))
        return found

    nets = [make(CHAIN) for _ in range(4)]
    alone = [passes(seed, 1)[0] for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(passes, range(4)))
    for first, results in zip(alone, together, strict=True):
        for result in results:
            np.testing.assert_array_equal(result, first)


def test_out_of_memory_says_how_much_and_the_net_runs_again(net: caffe.Net) -> None:
    _, total = pytest.importorskip("cupy").cuda.runtime.memGetInfo()
    net.blobs["data"].reshape(2 * total // (4 * 3 * 8 * 8), 3, 8, 8)
    with pytest.raises(DeviceError, match=r"MiB.*free"):
        net.forward()
    net.blobs["data"].reshape(2, 3, 8, 8)
    net.forward(data=noise(2, 3, 8, 8))
    agree(net.gradient({"fc": DIFF})["data"])


def test_a_net_follows_to_another_gpu_and_refuses_arrays_of_the_first(net: caffe.Net) -> None:
    cupy = pytest.importorskip("cupy")
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one GPU only")
    diff = cupy.asarray(DIFF)
    try:
        caffe.set_device(1)
        net.forward(data=noise(2, 3, 8, 8))
        found = net.gradient({"fc": DIFF})["data"]
        assert found.device.id == 1
        np.testing.assert_allclose(downloaded(found), expected(), rtol=1e-4, atol=1e-6)
        with pytest.raises(DeviceError, match="an array of GPU 0 was given to a net on GPU 1"):
            net.gradient({"fc": diff})
    finally:
        caffe.set_device(0)
