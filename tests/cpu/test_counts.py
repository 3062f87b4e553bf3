"""What a settled pass of the published nets consists of: times cannot be asserted, these numbers can."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest

import caffepy
from benchmarks.nets import NETS
from caffepy.device.onednn import library
from caffepy.layer import Layer
from tests.cpu.roads import needs_onednn, road

AVX512 = 0x27

# calls of oneDNN, reorders among them, calls of NumPy
COUNTS = {
    "caffenet": {"forward": (15, 1, 0), "gradient": (27, 6, 2)},
    "vgg16": {"forward": (23, 1, 0), "gradient": (51, 14, 2)},
    "googlenet": {"forward": (85, 1, 0), "gradient": (252, 93, 6)},
    "squeezenet": {"forward": (40, 1, 0), "gradient": (108, 43, 2)},
    "resnet50": {"forward": (74, 1, 0), "gradient": (149, 27, 2)},
    "mobilenet": {"forward": (31, 1, 0), "gradient": (60, 3, 2)},
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
