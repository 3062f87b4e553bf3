"""Two GPUs, many threads: work goes to the net's GPU, whatever the thread's is."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy import saliency
from caffepy.errors import DeviceError
from tests.cupy_on_cpu import checks, standin
from tests.gpu_mode import downloaded
from tests.nets import CHAIN, FORCED, make, noise

pytestmark = [pytest.mark.gpu, standin.needed()]

SHARED = """
extern "C" __global__ void k(float* y) {
  STATIC extern __shared__ float s[];
  s[threadIdx.x] = 1;
  __syncthreads();
  y[threadIdx.x] = s[31 - threadIdx.x] + 1;
}"""


@pytest.mark.parametrize("static", [False, True], ids=["dynamic alone", "beside static memory"])
@pytest.mark.parametrize("kib", [1, 40, 60])
def test_shared_memory_as_much_as_the_kernel_may_have(two_gpus: tuple[Any, Any], kib: int, static: bool) -> None:
    for gpu in reversed(two_gpus):
        own = "__shared__ float t[4096]; t[threadIdx.x] = 1;" if static else ""
        function = gpu.compile(SHARED.replace("STATIC", own), "k.cu").function("k")
        y, back = gpu.zeros(32, np.float32), np.zeros(32, np.float32)
        function((1,), (32,), (y,), 1024 * kib)
        gpu.download(y, back)
        assert (back == 2).all()


def passes(net: caffe.Net, seed: int) -> list[np.ndarray]:
    """Four forward passes and gradients."""
    results = []
    for i in range(4):
        results.append(net.forward(data=noise(2, 3, 8, 8, seed=seed + i))["fc"].copy())
        gradient = net.gradient({"fc": noise(2, 5, seed=seed + i)})["data"]
        results.append(gradient if isinstance(gradient, np.ndarray) else gradient.get())
    return results


def test_eight_threads_with_eight_nets(two_gpus: tuple[Any, Any]) -> None:
    seeds = [10 * i for i in range(8)]
    expected = [passes(make(CHAIN, device="cpu"), seed) for seed in seeds]
    nets = [make(CHAIN, device=i % 2) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(passes, nets, seeds))
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def weight_gradients(net: caffe.Net, seed: int) -> list[np.ndarray]:
    """Of four backward passes, each added to those before."""
    for blobs in net.params.values():
        for blob in blobs:
            blob.diff[...] = 0
    for i in range(4):
        net.forward(data=noise(2, 3, 8, 8, seed=seed + i))
        net.backward(fc=noise(2, 5, seed=seed + i))
    return [blob.diff.copy() for blobs in net.params.values() for blob in blobs]


def maps(net: caffe.Net, seed: int) -> list[np.ndarray]:
    """By gradients of noisy images, and by rules."""
    images = noise(2, 3, 8, 8, seed=seed)
    found = [saliency.smoothgrad(net, images, 1, output="fc", samples=3), saliency.lrp(net, images, 1, output="fc")]
    return [made.numpy() for made in found]


def test_threads_that_do_different_things(two_gpus: tuple[Any, Any]) -> None:
    work = [(passes, weight_gradients, maps)[i % 3] for i in range(8)]
    expected = [do(make(FORCED, device="cpu"), i) for i, do in enumerate(work)]
    nets = [make(FORCED, device=i % 2) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: work[i](nets[i], i), range(8)))
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max())


def test_an_array_of_another_gpu_is_refused(two_gpus: tuple[Any, Any]) -> None:
    class Tensor:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __dlpack_device__(self) -> Any:
            return self.array.__dlpack_device__()

        def __dlpack__(self, **given: Any) -> Any:
            return self.array.__dlpack__(**given)

    first, second = two_gpus
    array = second.zeros(4, np.float32)
    assert second.adopt(Tensor(array)).data.ptr == array.data.ptr
    for given in (array, Tensor(array)):
        with pytest.raises(DeviceError, match="an array of GPU 1 was given to a net on GPU 0"):
            first.adopt(given)
    same = first.zeros(4, np.float32)
    assert first.adopt(Tensor(same)).data.ptr == same.data.ptr
    checks.same(same, np.zeros(4))
    assert downloaded(same).shape == (4,)
