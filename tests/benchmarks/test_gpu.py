"""The GPU suite: run through on an emulated GPU, its checks against planted mistakes, its targets by hand."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks.gpu import clock, report, sizes, targets
from benchmarks.gpu.engine import LayerCopy, NetCopy, gpu
from benchmarks.gpu.suite import Suite
from tests.cuda_on_cpu import unavailable
from tests.gpu_mode import running
from tests.shared import ROOT


def test_the_whole_suite_runs_dry(tmp_path):
    if reason := unavailable():
        pytest.skip(reason)
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "gpu",
        "--dry",
        "--batch",
        "1",
        "--no-compile",
        "--results",
        tmp_path,
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert (result["dry"], result["failed"], result["unavailable"]) == (True, [], {})
    measured = {(layer["type"], layer["way"], layer["precision"]) for layer in result["layers"]}
    assert {("Convolution", way, "fp32") for way in ("forward", "backward", "weights", "bias")} <= measured
    assert {
        ("LRN", "backward", "fp32"),
        ("Pooling", "forward", "fp32"),
        ("InnerProduct", "backward", "tf32"),
    } <= measured
    assert [(net["what"], net["precision"]) for net in result["nets"]] == [
        (what, precision) for precision in ("fp32", "tf32") for what in ("forward", "gradient")
    ]
    assert "Nothing was measured: this was a dry run" in (tmp_path / "gpu.md").read_text()


@pytest.mark.parametrize(("part", "runner", "method"), [("layers", LayerCopy, "result"), ("nets", NetCopy, "gradient")])
def test_a_wrong_result_is_told_and_nothing_is_compared_with_it(part, runner, method, monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    right = getattr(runner, method)

    def wrong(self, *args):
        array = right(self, *args)
        gpu().fill((self.gradients if array is None else array).reshape(-1)[:1], 1000.0)
        return array

    monkeypatch.setattr(runner, method, wrong)
    with running("gpu-ascending"):
        suite = Suite(replace(sizes.EMULATED, batches=(1,), compiler=""), lambda line: None)
        for _ in suite.run([part]):
            pass
    checked = [found for found in suite.result[part] if "difference" in found]
    assert len(checked) == len(suite.result["failed"]) > 1
    assert "differs by" in suite.result["failed"][0]
    assert not any("speedup" in found for found in checked)


def test_nothing_is_begun_when_the_time_is_over():
    with running("gpu-ascending"):
        suite = Suite(sizes.EMULATED, lambda line: None, deadline=0)
        assert [*suite.run(["nets", "layers"])] == []
    assert suite.result["left out"][0] == "tiny, batch 1, fp32"
    assert suite.result["left out"][-1] == "layers, batch 2"
    assert not suite.result["failed"]


def layer(kind, way, speedup, *, ms=1.0, nbytes=0, net="caffenet", precision="fp32", batch=1):
    measured = {"type": kind, "way": way, "speedup": speedup, "caffepy": ms, "bytes": nbytes}
    return measured | {"nets": {net: 1}, "precision": precision, "batch": batch}


def gradient(net, ms, **more):
    return {"net": net, "batch": 1, "what": "gradient", "precision": "fp32", "caffepy": ms} | more


RESULT = {
    "saliency_net": "caffenet",
    "l2": 1000,
    "ceilings": {"copy": {"1": 50.0, "2": 100.0}},  # GB/s
    "layers": [
        layer("Convolution", "forward", 4.0),
        layer("Convolution", "backward", 1.0),
        layer("Convolution", "bias", 99.0, ms=1.0, nbytes=90_000_000),
        layer("Convolution", "weights", 0.5, net="vgg16"),
        layer("ReLU", "forward", 1.0, ms=1.0, nbytes=80_000_000),
        layer("ReLU", "forward", 1.0, ms=1.0, nbytes=20_000_000),
        layer("ReLU", "forward", 1.0, ms=1.0, nbytes=900),  # fits into the L2 cache
    ],
    "nets": [
        gradient("caffenet", 0.15, weights=5_000_000, speedup=1.5, host=70.0),
        gradient("vgg16", 9.0, weights=1, host=20.0),
    ],
}


def test_targets():
    found = {target["name"]: (target["value"], target["met"]) for target in targets.of(RESULT)}

    def target(words):
        (name,) = (name for name in found if all(word in name for word in words.split()))
        return found[name]

    assert target("batch 1, fp32: ms") == (0.15, True)
    value, met = target("times the floor")  # 1.5 times PyTorch is too little, 1.5 times the floor of 0.1 ms will do
    assert math.isclose(value, 1.5)
    assert met
    assert target("convolutions, fp32") == (1.0, True)  # of caffenet's 2 and vgg16's 0.5
    assert target("convolutions, tf32") == (None, None)
    value, met = target("ReLU, forward")
    assert math.isclose(value, 0.4)  # of 0.8 and 0.2
    assert not met
    assert target("Convolution, bias") == (0.9, True)
    assert target("LRN, forward") == (None, None)
    assert target("host time") == (70.0, False)


def test_a_report_says_met_and_missed_and_what_is_not_there():
    result = RESULT | {"dry": False, "peer": "PyTorch is not installed", "failed": ["conv: wrong"], "unavailable": {}}
    result |= {"left out": ["vgg16, batch 32", "vgg16, batch 1"]}
    result |= {"targets": targets.of(RESULT), "precisions": ["fp32"], "layers": [], "nets": []}
    text = report.markdown(result)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert sum("MISSED" in row for row in rows) == sum(target["met"] is False for target in result["targets"])
    assert "PyTorch is not installed: these are caffepy's figures alone" in text
    assert "FAILED: conv: wrong" in text
    assert "left out, because the time was over: 2, from vgg16, batch 32 on" in text
    assert "Nothing was measured" not in text


@pytest.mark.parametrize(
    ("nbytes", "copies"), [(1, 256), (1000, 20), (10_000, 2), (10_001, 2), (20_000, 1), (10**9, 1)]
)
def test_copies_go_past_the_cache(nbytes, copies):
    assert clock.copies(nbytes, replace(sizes.EMULATED, l2=10_000)) == copies
