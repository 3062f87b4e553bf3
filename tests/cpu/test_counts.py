"""What a settled pass of the published nets consists of: times cannot be asserted, these numbers can."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

import caffepy
from caffepy.device.onednn import library
from caffepy.device.threads import set_threads
from caffepy.zoo.nets import NETS
from tests.cpu import counts
from tests.cpu.roads import assert_alike, build, needs_onednn, passes, road

AVX512 = 0x27


def isa() -> int:
    found = library.load()
    return 0 if isinstance(found, str) else int(found.c.dnnl_get_effective_cpu_isa())


@needs_onednn
@pytest.mark.skipif(isa() & AVX512 != AVX512, reason="the counts are those of the layouts chosen with AVX-512")
@pytest.mark.parametrize("name", NETS)
def test_calls_of_settled_passes(name: str) -> None:
    """After a change that is meant: `python -m tests.cpu.counts > tests/cpu/counts.tsv`."""
    assert counts.counted(name) == counts.known()[name]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """So that busy neighbours change nothing: with fewer threads than before a pass would be captured anew."""
    set_threads(1)
    yield
    set_threads(None)


@needs_onednn
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["squeezenet_v1_1", "resnet18", "mobilenet_v2"])
def test_settled_passes_allocate_nothing_of_size(name: str) -> None:
    with road("onednn"), caffepy.Net(NETS[name](batch=1, size=224), caffepy.TEST) as net:
        out = {"data": np.zeros(net.blobs["data"].shape, np.float32)}
        for _ in range(3):
            net.forward()
            net.gradient({"prob": 1.0}, "data", out=out)
        tracemalloc.start()
        net.forward()
        net.gradient({"prob": 1.0}, "data", out=out)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2 * net.blobs["data"].count  # the input is compared with its copy, a byte for each value


SMALL = """
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 16 kernel_size: 3 } }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "d" type: "Convolution" bottom: "p" top: "d" convolution_param { num_output: 256 kernel_size: 5 } }
layer { name: "f" type: "InnerProduct" bottom: "d" top: "f" inner_product_param { num_output: 10 } }
"""


@needs_onednn
def test_small_work_stays_on_one_thread() -> None:
    set_threads(2)
    try:
        with road("onednn"):
            net = build(SMALL, (2, 4, 12, 12))
            found = passes(net)
            (forward,) = net.execution.replay.on_cpu.captured("forward")
            assert forward.names == [
                "convolution_forward",
                "pooling_forward",
                "convolution_forward",
                "reorder",
                "inner_product_forward",
            ]
            assert forward.wide == ["convolution_forward"]
            every = [name for captured in net.execution.replay.on_cpu.captured() for name in captured.wide]
    finally:
        set_threads(None)
    assert "convolution_backward_weights" in every
    assert "reorder" not in every
    with road("numpy"):
        assert_alike(found, passes(build(SMALL, (2, 4, 12, 12))))
