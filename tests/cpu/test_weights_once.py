"""Weights that passes read packed only: the host's memory is given back, and whoever asks there finds the values."""

import ctypes
import functools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import caffepy
from benchmarks import resident
from caffepy.cpu import homes
from caffepy.device import pages
from tests.cpu.roads import assert_alike, build, captured, needs_onednn, passes, road
from tests.shared import ROOT

pytestmark = needs_onednn

ONE = """
layer { name: "fc1" type: "InnerProduct" bottom: "data" top: "fc1" inner_product_param { num_output: 100 } }
"""
NET = f"""{ONE}
layer {{ name: "relu" type: "ReLU" bottom: "fc1" top: "fc1" }}
layer {{ name: "fc2" type: "InnerProduct" bottom: "fc1" top: "fc2" inner_product_param {{ num_output: 40 }} }}
"""
SHAPE = 8, 70


@pytest.fixture(autouse=True)
def _given_back_is_lost(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Arrays of any size count, piece by piece, and what is given back becomes NaN, be it less than a page."""

    def lost(array: np.ndarray, first: int, last: int) -> Callable[[], object]:
        return functools.partial(ctypes.memset, array.ctypes.data + first, 0xFF, last - first)

    monkeypatch.setattr(pages, "can_give_back", lambda array: True)
    monkeypatch.setattr(homes, "giving_back", lost)
    monkeypatch.setattr(homes, "_PIECE", 70 * 4 * 40)
    with road("onednn"):
        yield


def moved(net: caffepy.Net) -> list[bool]:
    """Of the two weights, whether only passes have the values."""
    storages = [blobs[0].data_storage for blobs in net.params.values()]
    return [storage.moved and not storage.fresh for storage in storages]


def expected(change: Callable[[caffepy.Net], object] = lambda net: None) -> dict[str, np.ndarray]:
    with road("numpy"):
        other = build(NET, SHAPE)
        change(other)
        return passes(other)


def test_they_are_given_back_and_found_again_to_the_bit() -> None:
    net = build(NET, SHAPE)
    before = {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}
    net.forward()
    assert moved(net) == [True, True]
    for name, arrays in before.items():
        for blob, array in zip(net.params[name], arrays, strict=True):
            np.testing.assert_array_equal(blob.data, array)
    assert moved(net) == [False, False]
    assert_alike(passes(net), expected())
    assert moved(net) == [False, False]  # who asked once may ask again


def test_what_is_written_afterwards_counts() -> None:
    net = build(NET, SHAPE)
    passes(net)
    view = net.params["fc1"][0].data

    def double(net: caffepy.Net) -> None:
        net.params["fc1"][0].data[3:5] *= 2

    double(net)
    assert_alike(passes(net), expected(double))
    view[3:5] *= 2
    assert_alike(passes(net), expected(lambda net: (double(net), double(net))))


def test_what_somebody_looks_at_stays_where_it_is() -> None:
    net = build(NET, SHAPE)
    view = net.params["fc1"][0].data
    net.forward()
    assert moved(net) == [False, True]
    view[...] *= -1

    def negate(net: caffepy.Net) -> None:
        net.params["fc1"][0].data[...] *= -1

    assert_alike(passes(net), expected(negate))


def test_saving_shows_them_and_lets_them_be(tmp_path: Path) -> None:
    net, other = build(NET, SHAPE), build(NET, SHAPE, seed=9)
    net.forward()
    other.forward()
    net.save(tmp_path / "weights.caffemodel")
    assert moved(net) == [True, True]
    other.copy_from(tmp_path / "weights.caffemodel")
    other.blobs["data"].data[...] = net.blobs["data"].data
    assert_alike(passes(other), expected())


def test_a_pass_that_wants_them_plain_has_them_unpacked_once() -> None:
    net = build(NET, SHAPE)
    net.forward()
    assert moved(net) == [True, True]
    noise = np.random.default_rng(5).standard_normal((1, 70))
    net.blobs["data"].reshape(1, 70)
    net.blobs["data"].data[...] = noise
    net.forward()
    assert captured(net) == captured(build_and_run((1, 70)))
    with road("numpy"):
        other = build(NET, (1, 70))
        other.blobs["data"].data[...] = noise
        other.forward()
    assert_alike({"fc2": net.blobs["fc2"].data}, {"fc2": other.blobs["fc2"].data})


def build_and_run(shape: tuple[int, ...]) -> caffepy.Net:
    net = build(NET, shape)
    net.forward()
    return net


def test_another_net_s_pass_may_be_reading_them_where_they_are() -> None:
    one, eight = build_and_run((1, 70)), build(NET, SHAPE)
    eight.share_with(one)
    eight.forward()
    assert moved(eight) == [False, False]
    assert not np.isnan(one.forward()["fc2"]).any()
    assert_alike(passes(eight), expected())


def test_an_interrupt_does_not_leave_them_half_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    net = build(ONE, SHAPE)
    before = net.params["fc1"][0].data.copy()
    run, steps = homes.Packing.run, []

    def interrupted(self: homes.Packing) -> None:
        if steps:
            return run(self)
        steps.extend(next(self._steps) for _ in range(3))
        for step in steps:
            step()
        raise KeyboardInterrupt

    monkeypatch.setattr(homes.Packing, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.forward()
    assert len(steps) == 3
    np.testing.assert_array_equal(net.params["fc1"][0].data, before)


def test_who_asks_while_they_are_moved_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    net = build(ONE, SHAPE)
    blob, before, found = net.params["fc1"][0], net.params["fc1"][0].data.copy(), []
    run, asking = homes.Packing.run, threading.Thread(target=lambda: found.append(blob.data.copy()))

    def asked(self: homes.Packing) -> None:
        if not found and not asking.ident:
            next(self._steps)()
            next(self._steps)()  # the first piece is lost on the host
            asking.start()
            asking.join(0.2)
            assert not found
        run(self)

    monkeypatch.setattr(homes.Packing, "run", asked)
    net.forward()
    asking.join()
    np.testing.assert_array_equal(found[0], before)


FORK = """
import os, sys
import numpy as np
from caffepy.device import engine
from tests.cpu.roads import build
engine.set_cpu_engine("onednn")
net = build('''layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
                       inner_product_param { num_output: 999 } }''',
            (8, 1111))
blob = net.params["fc"][0]
before = blob.data.copy()
net.forward()
assert blob.data_storage.moved and not blob.data_storage.plain(blob.count).all()
child = os.fork()
if not child:
    os._exit(0 if np.array_equal(blob.data, before) else 3)
assert np.array_equal(blob.data, before)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is given back on Linux")
def test_pages_that_were_given_back_hold_the_values_again_in_a_forked_child_too() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=False, capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()


PEAK = """
from benchmarks import resident
from caffepy.device import engine
from tests.cpu.roads import build
engine.set_cpu_engine("onednn")
net = build('''layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"
                       inner_product_param { num_output: 4096 bias_term: false } }''', (8, 9216))
build('layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 9 } }',
      (8, 9)).forward()  # so that the library is there
before = resident.now()
resident.forget_peak()
net.forward()
print(resident.peak() - before, net.params["fc"][0].count * 4)
"""


@pytest.mark.skipif(resident.now() is None, reason="the peak of a process's memory is read from Linux's /proc")
def test_packing_takes_no_second_copy_at_any_time() -> None:
    found = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, cwd=ROOT)
    more, weights = map(int, found.stdout.split())
    assert weights == 4 * 4096 * 9216
    assert more < weights / 4  # a piece, and what is not whole pages
