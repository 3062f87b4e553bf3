"""What scripts do in GPU mode whose results depend on order: each raises AssertionError where they are wrong.

They run on the GPU of `device.current()`, and compare with the CPU.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy import device
from tests.cupy_on_cpu import torch_standin
from tests.gpu_mode import downloaded
from tests.nets import CHAIN, FORCED, make, noise


def same(found: Any, expected: Any) -> None:
    """Raises AssertionError unless an array of the GPU or the host is that of the CPU."""
    found = found if isinstance(found, np.ndarray) else downloaded(found)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def run(net: caffe.Net) -> None:
    """A forward pass whose results nobody waits for."""
    net.forward_from_to(0, len(net.layers) - 1)


def on_cpu(seed: int, diff: Any = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Output and gradient of CHAIN for the noise of that seed."""
    net = make(CHAIN, device="cpu")
    out = net.forward(data=noise(2, 3, 8, 8, seed=seed))["fc"].copy()
    with device.pinned(device.named("cpu")):
        return out, net.gradient({"fc": diff})["data"]


def gradients_in_a_loop() -> None:
    """Diffs of the host, written one after the other into the same memory."""
    net = make(FORCED)
    net.forward(data=noise(2, 3, 8, 8))
    diffs = [np.eye(5, dtype=np.float32)[[index] * 2] for index in range(5)]
    found = [net.gradient({"fc": diff})["data"] for diff in diffs]
    for array, diff in zip(found, diffs, strict=True):
        same(array, on_cpu(0, diff)[1])


def a_view_kept() -> None:
    """A view of the input is written as soon as the pass has been asked for."""
    net = make(CHAIN)
    view = net.blobs["data"].data
    for seed in range(4):
        view[...] = noise(2, 3, 8, 8, seed=seed)
        run(net)
        view[...] = 99
        same(net.blobs["fc"].data, on_cpu(seed)[0])


def memory_given_back() -> None:
    """The host's memory is given back, and used for something else, while it is copied."""
    gpu: Any = device.current()
    array, back = gpu.zeros(4, np.float32), np.zeros(4, np.float32)
    host = gpu.host_zeros(4, np.float32)
    host[...] = 1
    gpu.upload(host, array)
    del host
    for _ in range(3):
        gpu.host_zeros(4, np.float32)[...] = 7
    gpu.download(array, back)
    assert (back == 1).all()


def read_outside_of_the_stream() -> None:
    """A pass on a stream of the caller's; its results are read when that stream has been left."""
    cupy = _cupy()
    net = make(CHAIN)
    for seed in range(4):
        net.blobs["data"].data[...] = noise(2, 3, 8, 8, seed=seed)
        with cupy.cuda.Stream(non_blocking=True):
            run(net)
        same(net.blobs["fc"].data, on_cpu(seed)[0])


def read_inside_of_another_stream() -> None:
    """A pass on the null stream; its results are read within a stream that does not wait for that one."""
    cupy = _cupy()
    net = make(CHAIN)
    for seed in range(4):
        net.blobs["data"].data[...] = noise(2, 3, 8, 8, seed=seed)
        run(net)
        with cupy.cuda.Stream(non_blocking=True):
            same(net.blobs["fc"].data, on_cpu(seed)[0])


def prepared_outside_of_the_stream() -> None:
    """What a script does outside is there in a pass on a stream of its own."""
    cupy = _cupy()
    net = make(CHAIN)
    for seed in range(4):
        given = cupy.zeros((2, 3, 8, 8), np.float32)
        given.set(noise(2, 3, 8, 8, seed=seed))
        net.blobs["data"].data_storage.put(given)
        with cupy.cuda.Stream(non_blocking=True) as stream:
            run(net)
            same(net.blobs["fc"].gpu_data, on_cpu(seed)[0])
        stream.synchronize()


def written_on_the_callers_stream() -> None:
    """The caller fills the input on its own stream, runs the net, and changes the input again."""
    cupy = _cupy()
    net = make(CHAIN)
    run(net)
    with cupy.cuda.Stream(non_blocking=True):
        data, out = net.blobs["data"].gpu_data, net.blobs["fc"].gpu_data
        values = [cupy.zeros((2, 3, 8, 8), np.float32) for _ in range(4)]
        for seed, value in enumerate(values):
            value.set(noise(2, 3, 8, 8, seed=seed))
        found = []
        for value in values:
            cupy.copyto(data, value)
            run(net)
            result = cupy.zeros((2, 5), np.float32)
            cupy.copyto(result, out)
            found.append(result)
        for seed, result in enumerate(found):
            same(result, on_cpu(seed)[0])


def a_result_kept_for_the_null_stream() -> None:
    """A pass on a stream of the caller's; an array of its result, kept, is read on the null stream."""
    cupy = _cupy()
    net = make(CHAIN)
    run(net)
    out, result = net.blobs["fc"].gpu_data, cupy.zeros((2, 5), np.float32)
    for seed in range(3):
        net.blobs["data"].data[...] = noise(2, 3, 8, 8, seed=seed)
        with cupy.cuda.Stream(non_blocking=True):
            run(net)
        cupy.copyto(result, out)
        same(result, on_cpu(seed)[0])


def an_exception_in_a_pass() -> None:
    """What a pass did before an exception is there afterwards."""
    gpu: Any = device.current()
    array, back = gpu.zeros(8, np.float32), np.zeros(8, np.float32)
    with suppress(KeyError), gpu.ordered(gpu.stream()):
        gpu.fill(array, 3)
        raise KeyError
    gpu.download(array, back)
    assert (back == 3).all()


def tensors_of_torch() -> None:
    """A net as a module: PyTorch writes its tensors before, and over them at once, on a stream of its own."""
    with pytest.MonkeyPatch.context() as patch, torch_standin.torch(patch) as torch:
        from caffepy.interop.torch import NetModule, _Pass

        module, found = NetModule(make(CHAIN)), []
        image, diff = torch.tensor(2, 3, 8, 8), torch.tensor(2, 5)
        for seed in range(4):
            out = module(image.copy_(noise(2, 3, 8, 8, seed=seed)))
            _, _, slope = _Pass.backward(torch_standin.Function.last, diff.copy_(noise(2, 5, seed=seed)))
            found.append((out.copied(), slope.copied()))
            for used in (image, diff, out, slope):
                used.spoil()
            del out, slope, used
        for seed, pair in enumerate(found):
            for ours, expected in zip(pair, on_cpu(seed, noise(2, 5, seed=seed)), strict=True):
                same(ours.numpy(), expected)


def memory_that_torch_gave_back() -> None:
    """A result is dropped while PyTorch still has to read it; its memory is the next result's."""
    with pytest.MonkeyPatch.context() as patch, torch_standin.torch(patch) as torch:
        net, found = make(CHAIN), []
        net.forward(data=noise(2, 3, 8, 8))
        for index in range(4):
            diff = np.eye(5, dtype=np.float32)[[index] * 2]
            found.append(torch.from_dlpack(net.gradient({"fc": diff})["data"]).copied())
        for index, ours in enumerate(found):
            same(ours.numpy(), on_cpu(0, np.eye(5, dtype=np.float32)[[index] * 2])[1])


def written_on_torchs_stream() -> None:
    """PyTorch fills the input in place, has the net run, reads its output in place and fills the input again."""
    net = make(CHAIN)
    run(net)
    with pytest.MonkeyPatch.context() as patch, torch_standin.torch(patch) as torch:
        image, out = (torch.from_dlpack(net.blobs[name].gpu_data) for name in ("data", "fc"))
        found = []
        for seed in range(4):
            image.copy_(noise(2, 3, 8, 8, seed=seed))
            run(net)
            found.append(out.copied())
        for seed, result in enumerate(found):
            same(result.numpy(), on_cpu(seed)[0])


def a_net_dropped_while_it_runs() -> None:
    """Its passes are under way when another net, called on another stream, gets its memory."""
    cupy = _cupy()
    for seed in range(4):
        net = make(CHAIN)
        for _ in range(3):
            net.blobs["data"].data[...] = noise(2, 3, 8, 8, seed=9)
            run(net)
        del net
        with cupy.cuda.Stream(non_blocking=True):
            net = make(CHAIN)
            same(net.forward(data=noise(2, 3, 8, 8, seed=seed))["fc"], on_cpu(seed)[0])
        del net


ALL: dict[str, Callable[[], None]] = {
    check.__name__: check
    for check in (
        gradients_in_a_loop,
        a_view_kept,
        memory_given_back,
        read_outside_of_the_stream,
        read_inside_of_another_stream,
        prepared_outside_of_the_stream,
        written_on_the_callers_stream,
        a_result_kept_for_the_null_stream,
        an_exception_in_a_pass,
        tensors_of_torch,
        written_on_torchs_stream,
        memory_that_torch_gave_back,
        a_net_dropped_while_it_runs,
    )
}


def _cupy() -> Any:
    import cupy

    return cupy
