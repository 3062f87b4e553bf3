"""The suites on the CPU: engines answer, wrong results are not timed, and every suite runs through on a small net."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import case, layers, run, shared_machine, suite, whole_nets
from benchmarks.__main__ import main
from benchmarks.suite import Settings
from benchmarks.turns import environment, summary, with_ratios

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "bn" top: "bn" }
layer { name: "pool" type: "Pooling" bottom: "bn" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 10 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "small.prototxt").write_text(NET)
    return str(tmp_path / "small.prototxt")


def settings(net: str, **more: object) -> Settings:
    return Settings(nets=[net], batches=[2], threads=1, rounds=2, peers={}, **more)


def test_a_net_of_a_prototxt_for_any_batch_and_size(net: str) -> None:
    assert list(case.definition(net, 3, 20).layer[0].input_param.shape[0].dim) == [3, 3, 20, 20]
    assert case.definition("squeezenet_v1_0", 3).layer[0].input_param.shape[0].dim[0] == 3
    assert (case.title(net), case.title("squeezenet")) == ("small", "squeezenet")


def test_nets_and_layers(net: str) -> None:
    found = whole_nets.measure(settings(net))
    assert [(entry["net"], entry["batch"], entry["way"]) for entry in found] == [
        ("small", 2, way) for way in ("forward", "gradient", "backward")
    ]
    for entry in found:
        figures = entry["engines"]["caffepy"]
        assert 0 < figures["minimum"] <= figures["median"]
        assert figures["cpu"] > 0
    of_layers = layers.measure(settings(net))
    assert [entry["type"] for entry in of_layers["layers"]] == [
        "Convolution", "BatchNorm", "ReLU", "Pooling", "InnerProduct", "Softmax",
    ]  # fmt: skip
    conv = of_layers["layers"][0]
    assert conv["flops"] == [2 * 2 * 8 * 100 * 27] * 2
    assert all(ceiling > 0 for ceiling in of_layers["ceilings"].values())


def test_the_others_run_through(net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_machine, "SECONDS", 0.05)
    monkeypatch.setattr(shared_machine, "NEIGHBOURS", 1)
    out = tmp_path / "out.json"
    words = ["load-shared", "memory", "--nets", net, "--batch", "2", "--rounds", "1", "--threads", "1", "--peers", ""]
    monkeypatch.setattr("benchmarks.memory.BATCHES", (1,))
    monkeypatch.setattr("benchmarks.memory.SIZES", (64,))
    assert main([*words, "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["shared-machine"]["result"][0]["caffepy"]["slowdown"] > 0
    memory = {(entry["engine"], entry["way"]) for entry in found["memory"]["result"]["nets"]}
    assert memory == {("caffepy", "forward"), ("caffepy", "gradient"), ("caffepy-inference", "forward")}
    assert main(["nets", *words[2:], "--minutes", "0", "--out", str(out)]) == 0
    assert json.loads(out.read_text()).keys() == found.keys()


def test_a_suite_that_fails_is_told_and_others_go_on(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(settings: Settings) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setitem(run.SUITES, "train", fails)
    monkeypatch.setitem(run.SUITES, "load", lambda settings: {"ms": 1})
    out = tmp_path / "out.json"
    assert main(["train", "load", "--peers", "", "--out", str(out)]) == 1
    assert json.loads(out.read_text()).keys() == {"load"}
    assert "train: RuntimeError: no such thing" in capsys.readouterr().out


def test_a_net_that_fails_leaves_the_others(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    once = whole_nets._net

    def fails(name: str, batch: int, *rest: object) -> list:
        if batch == 1:
            raise RuntimeError("the worker died")
        return once(name, batch, *rest)

    monkeypatch.setattr(whole_nets, "_net", fails)
    found = Settings(nets=[net], batches=[1, 2], threads=1, rounds=1, peers={}, ways=("forward",))
    assert [entry["batch"] for entry in whole_nets.measure(found)] == [2]
    assert found.notes == ["nets: small, batch 1: RuntimeError: the worker died"]


def test_wrong_results_are_not_timed(tmp_path: Path) -> None:
    class Told:
        def __init__(self, name: str, values: list[float]) -> None:
            self.path, self.values = tmp_path / f"{name}-forward.npz", values

        def ask(self, command: str) -> bool:
            np.savez(self.path, np.array(self.values, np.float32))
            return True

    engines = {"caffepy": Told("caffepy", [3, 4]), "torch": Told("torch", [3, 4.001]), "opencv": Told("opencv", [3, 5])}
    engines["caffe"] = Told("caffe", [3, math.nan])
    found = settings("net")
    good, differences = suite.agreeing(engines, "forward", tmp_path, found, "small")
    assert list(good) == ["caffepy", "torch"]
    assert differences == {"torch": pytest.approx(2e-4, rel=0.01), "opencv": pytest.approx(0.2), "caffe": math.inf}
    assert [note.split(":")[1] for note in found.notes] == [" forward by opencv differs from ours by 2.0e-01", " forward by caffe differs from ours by inf"]  # fmt: skip  # noqa: E501
    (tmp_path / "a.npz").write_bytes((tmp_path / "caffepy-forward.npz").read_bytes())
    np.savez(tmp_path / "b.npz", np.zeros(3))
    assert suite.difference(tmp_path / "b.npz", tmp_path / "a.npz") == math.inf


def test_summaries_are_in_milliseconds() -> None:
    assert summary([0.001, 0.002, 0.003, 0.004]) == {"median": 2.5, "quartiles": [1.25, 3.75], "minimum": 1.0}
    assert summary([0.002]) == {"median": 2.0, "quartiles": [2.0, 2.0], "minimum": 2.0}
    found = with_ratios({"caffepy": {"median": 1.0, "cpu": 3.0}, "torch": {"median": 4.0, "cpu": 2.0}})
    assert found["torch"]["ratio"] == {"median": 0.25, "cpu": 1.5}


def test_means_and_the_worst() -> None:
    def entry(ratio: float) -> dict:
        return {"way": "forward", "engines": {"caffepy": {}, "torch": {"ratio": {"median": ratio, "minimum": 1.0}}}}

    assert whole_nets.means([entry(0.25), entry(1.0)]) == {
        "forward": {"torch": {"median": 0.5, "minimum": 1.0, "worst": 1.0}}
    }


def test_late_suites_are_left_out() -> None:
    found = settings("net", deadline=time.monotonic() - 1)
    assert whole_nets.measure(found) == []
    assert found.notes == ["nets: net: left out, the time was over"]


def test_engines_do_not_inherit_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    found = environment(3)
    assert "OPENBLAS_CORETYPE" not in found
    assert found["OMP_NUM_THREADS"] == "3"


def test_scales_that_pytorch_folds_are_part_of_their_batch_norm() -> None:
    ours = {
        "bn": {"type": "BatchNorm", "ms": [1.0, 2.0], "flops": [0, 0], "bytes": [8, 8]},
        "scale": {"type": "Scale", "ms": [3.0, None], "flops": [0, None], "bytes": [4, None]},
        "relu": {"type": "ReLU", "ms": [1.0, 1.0], "flops": [0, 0], "bytes": [8, 8]},
    }
    torch = {"bn": {"type": "BatchNorm", "ms": [5.0, 6.0]}, "relu": {"type": "ReLU", "ms": [2.0, 2.0]}}
    found = layers.joined({"caffepy": [ours], "torch": [torch, torch]})
    assert [entry["ms"] for entry in found] == [
        {"caffepy": [4.0, 2.0], "torch": [5.0, 6.0]},
        {"caffepy": [1.0, 1.0], "torch": [2.0, 2.0]},
    ]
    assert found[0]["bytes"] == [12, 8]
    assert layers.floor(found[0], {"GFLOP/s": 1.0, "GB/s": 1e-6}) == pytest.approx(20.0)
    assert layers.by_type(found)["BatchNorm"] == {"caffepy": [4.0, 2.0], "torch": [5.0, 6.0]}
