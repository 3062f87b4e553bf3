"""What a settled pass of the published nets consists of: times cannot be asserted, these numbers can."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest

import caffepy
from benchmarks.nets import NETS
from caffepy.device.onednn import library
from caffepy.device.threads import set_threads
from caffepy.layer import Layer
from tests.cpu.roads import assert_alike, build, needs_onednn, passes, road

AVX512 = 0x27

# calls of oneDNN, reorders among them, calls of NumPy
COUNTS = {
    "caffenet": {"forward": (15, 1, 0), "gradient": (23, 2, 2)},
    "vgg16": {"forward": (23, 1, 0), "gradient": (39, 2, 2)},
    "googlenet": {"forward": (85, 1, 0), "gradient": (196, 37, 6)},
    "squeezenet": {"forward": (40, 1, 0), "gradient": (83, 18, 2)},
    "resnet50": {"forward": (74, 1, 0), "gradient": (149, 27, 2)},
    "mobilenet": {"forward": (31, 1, 0), "gradient": (59, 2, 2)},
}


def isa() -> int:
    found = library.load()
    return 0 if isinstance(found, str) else int(found.c.dnnl_get_effective_cpu_isa())


@needs_onednn
@pytest.mark.skipif(isa() & AVX512 != AVX512, reason="the counts are those of the layouts chosen with AVX-512")
@pytest.mark.parametrize("name", NETS)
def test_calls_of_settled_passes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Layer, "fill", lambda self, index: None)
    with road("onednn"), caffepy.Net(NETS[name](1), caffepy.TEST) as net:
        net.forward()
        net.gradient({"prob": 1.0}, "data")
        found = {}
        for what in ("forward", "gradient"):
            (captured,) = net.execution.replay.on_cpu.captured(what)
            calls = Counter(captured.names)
            numpy = sum(n for call, n in calls.items() if call not in captured.primitives)
            found[what] = (sum(calls.values()) - numpy, calls["reorder"], numpy)
        assert found == {what: COUNTS[name][what] for what in found}


@needs_onednn
def test_settled_passes_allocate_nothing_of_size() -> None:
    with road("onednn"), caffepy.Net(NETS["squeezenet"](1), caffepy.TEST) as net:
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
    assert every.count("reorder") == 1  # of the 102,400 weights of d
    with road("numpy"):
        assert_alike(found, passes(build(SMALL, (2, 4, 12, 12))))
