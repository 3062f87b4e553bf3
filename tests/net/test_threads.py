"""Nets and threads: nets run side by side, one net runs one pass at a time, a pass does not start another one."""

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import caffepy as caffe
from caffepy import device
from caffepy.errors import StateError
from tests.gpu_mode import REAL, running
from tests.nets import CHAIN, make, noise

LAYERS = """
import caffe

net = None
interrupt = False


class Reenter(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        if interrupt:
            raise KeyboardInterrupt
        if net is not None:
            net.forward()
"""
REENTER = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }
layer { name: "again" type: "Python" bottom: "x" top: "y" python_param { module: "reentering" layer: "Reenter" } }
"""


def at_once(*calls: object) -> None:
    """Run them in threads of their own, which begin together; what one raises is raised."""
    begin, errors = threading.Barrier(len(calls)), []

    def run(call: object) -> None:
        begin.wait()
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("mode", ["cpu", "gpu-ascending", REAL])
def test_two_nets_at_once_get_their_own_results(mode: str) -> None:
    with running(mode):
        nets = [make(CHAIN, seed=seed) for seed in (1, 2)]
        inputs = [noise(2, 3, 8, 8, seed=seed) for seed in range(6)]
        expected = [[net.forward(data=x)["fc"].copy() for x in inputs] for net in nets]

        def work(net: caffe.Net, outputs: list[np.ndarray]) -> None:
            for _ in range(5):
                for x, output in zip(inputs, outputs, strict=True):
                    np.testing.assert_array_equal(net.forward(data=x)["fc"], output)

        at_once(
            *(lambda net=net, outputs=outputs: work(net, outputs) for net, outputs in zip(nets, expected, strict=True))
        )


def test_one_net_runs_one_pass_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(CHAIN)
    inside: list[int] = []
    most: list[int] = []

    def watch(i: int) -> None:
        inside.append(i)
        most.append(len(inside))

    net.before_forward(watch)
    net.after_forward(lambda i: inside.pop())
    at_once(*4 * [lambda: [net.forward() for _ in range(20)]])
    assert len(most) == 4 * 20 * len(net.layers)
    assert set(most) == {1}


@pytest.fixture
def reentering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    (tmp_path / "reentering.py").write_text(LAYERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "reentering", raising=False)
    net = make(REENTER)
    module = sys.modules["reentering"]
    monkeypatch.setattr(module, "net", net)
    return module


def test_a_layer_does_not_start_a_pass_of_its_net(reentering: object) -> None:
    for _ in range(2):
        with pytest.raises(StateError, match="in the middle of a pass: a layer or callback may not start another one"):
            reentering.net.forward()


def test_an_interrupted_pass_leaves_a_net_that_runs(reentering: object, monkeypatch: pytest.MonkeyPatch) -> None:
    net = reentering.net
    monkeypatch.setattr(reentering, "interrupt", True)
    with pytest.raises(KeyboardInterrupt):
        net.forward()
    monkeypatch.setattr(reentering, "interrupt", False)
    monkeypatch.setattr(reentering, "net", None)
    net.forward()


def test_the_mode_holds_in_all_threads() -> None:
    with running("gpu-ascending"):
        names: list[str] = []
        at_once(lambda: names.append(device.current().name))
        at_once(caffe.set_mode_cpu)
        assert (names, device.current().name) == (["cuda"], "cpu")
