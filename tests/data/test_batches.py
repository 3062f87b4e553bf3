"""Batches made ahead: order, errors, bad records, and that the thread ends with its net."""

import gc
import logging
import threading
import time
import weakref

import numpy as np
import pytest
from click.testing import CliRunner

import caffepy as caffe
from caffepy import data
from caffepy.cli import main
from caffepy.data import threads
from caffepy.data.batch_maker import BatchMaker
from caffepy.data.prefetch import Prefetcher
from caffepy.data.threads import side_by_side
from caffepy.errors import CaffeError, DataError, StateError
from caffepy.proto.caffe_pb2 import TransformationParameter
from tests.golden_data import FOLDER
from tests.gpu_mode import REAL, running
from tests.nets import make

LISTED = """
layer { name: "d" type: "ImageData" top: "data" top: "label"
        image_data_param { source: "lists/all.txt" root_folder: "images/" batch_size: 5 new_height: 9 new_width: 8 } }
"""
CORRUPT = """
layer { name: "d" type: "Data" top: "data" top: "label"
        data_param { source: "db/lmdb_corrupt_middle" batch_size: 3 backend: LMDB } }
"""


@pytest.fixture(autouse=True)
def _there(monkeypatch):
    monkeypatch.chdir(FOLDER)


@pytest.fixture
def _many_cores(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 4)
    threads._forget_pool()
    yield
    threads._forget_pool()


class Counted:
    """A source of numbered items, some of which are bad."""

    def __init__(self, epoch_length=10, bad=(), shapes=()):
        self.epoch_length, self.bad, self.shapes, self.given, self.closed = epoch_length, bad, dict(shapes), 0, False

    def items(self):
        while True:
            yield Numbered(self, self.given)
            self.given += 1

    def close(self):
        self.closed = True


class Numbered:
    slow = True

    def __init__(self, source, number):
        self.source, self.number, self.what = source, number, f"item {number}"
        self.epoch = number // source.epoch_length

    def read(self):
        time.sleep(0.0005 * (self.number % 3))
        if self.number % self.source.epoch_length in self.source.bad:
            raise DataError(f"{self.what} is bad")
        shape = self.source.shapes.get(self.number, (1, 2, 2))
        return np.full(shape, self.number % 256, np.uint8), float(self.number)


def maker(source, batch_size=4, **settings):
    return BatchMaker(source, data.DataTransformer(), batch_size, **settings)


def eventually(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def prefetching():
    return [thread for thread in threading.enumerate() if thread.name == "caffepy-prefetch"]


@pytest.mark.usefixtures("_many_cores")
def test_order_does_not_depend_on_threads():
    made = maker(Counted())
    for first in range(0, 40, 4):
        batch = made.make()
        assert batch.labels.tolist() == [first, first + 1, first + 2, first + 3]
        assert batch.data[:, 0, 0, 0].tolist() == batch.labels.tolist()


@pytest.mark.usefixtures("_many_cores")
def test_the_first_of_several_errors_is_raised():
    for _ in range(20):
        with pytest.raises(DataError, match="item 2 is bad"):
            maker(Counted(bad=(2, 3, 5)), 8).make()


def test_side_by_side_keeps_order_and_takes_nothing():
    assert side_by_side(lambda x: x * x, []) == []
    assert side_by_side(lambda x: x * x, range(100)) == [x * x for x in range(100)]


def test_bad_items_make_room_for_later_ones(caplog):
    made = maker(Counted(bad=(0, 2, 4)), skip_bad=True)
    with caplog.at_level(logging.WARNING, "caffepy"):
        assert made.first_shape() == (1, 2, 2)
        batch = made.make()
    assert sorted(batch.labels.tolist()) == [1, 3, 5, 6]
    assert batch.labels[0] == 1
    assert made.skipped == 3
    assert "bad record left out, number 3: item 4 is bad" in caplog.text
    other = maker(Counted(shapes={2: (1, 3, 2)}), skip_bad=True)
    assert sorted(other.make().labels.tolist()) == [0, 1, 3, 4]


def test_an_epoch_without_a_good_item_is_an_error():
    with pytest.raises(DataError, match="item 20 is bad; a whole epoch before it was bad as well, 20 records in all"):
        maker(Counted(bad=range(10)), skip_bad=True).make()


@pytest.mark.parametrize("bad", [(), (1,)])
def test_a_batch_of_many_epochs(bad):
    """A database of three records, and sixty-four to a batch."""
    made = maker(Counted(epoch_length=3, bad=bad), batch_size=64, skip_bad=True)
    for _ in range(3):
        assert len(set(made.make().labels.tolist())) == 64


def test_many_bad_records_are_counted_and_not_all_named(caplog):
    made = maker(Counted(epoch_length=2000, bad=range(1990)), batch_size=1, skip_bad=True)
    with caplog.at_level(logging.WARNING, "caffepy"):
        assert made.make().labels == [1990]
    assert made.skipped == 1990
    assert len(caplog.records) == 21


def test_a_batch_has_its_first_items_shape():
    made = maker(Counted(shapes=dict.fromkeys((4, 5, 6, 7), (1, 3, 2))))
    assert [made.make().data.shape for _ in range(3)] == [(4, 1, 2, 2), (4, 1, 3, 2), (4, 1, 2, 2)]
    with pytest.raises(DataError, match=r"item 2 gives shape \(1, 3, 2\), the first item of its batch \(1, 2, 2\)"):
        maker(Counted(shapes={2: (1, 3, 2)})).make()


def test_no_more_is_made_ahead_than_was_asked_for():
    source = Counted()
    ahead = Prefetcher(maker(source, 1), depth=3)
    time.sleep(0.02)
    assert source.given == 0  # it starts with the first take
    batch = ahead.take()
    assert eventually(lambda: source.given == 2)
    time.sleep(0.05)
    assert source.given == 2
    ahead.give_back(batch)
    assert eventually(lambda: source.given == 3)
    again = ahead.take()
    assert again.labels == [1]
    ahead.close()
    assert source.closed
    assert not ahead._ahead.thread.is_alive()


def test_memory_that_was_given_back_is_used_again():
    ahead = Prefetcher(maker(Counted(), 1), depth=1)
    first = ahead.take()
    ahead.give_back(first)
    second = ahead.take()
    assert second is first
    ahead.close()


def test_the_threads_error_comes_at_every_take_and_other_errors_come_as_they_are():
    ahead = Prefetcher(maker(Counted(bad=(5,))), depth=2)
    ahead.take()
    for _ in range(3):
        with pytest.raises(DataError, match="item 5 is bad") as error:
            ahead.take()
        assert isinstance(error.value.__cause__, DataError)

    class Broken(Counted):
        def items(self):
            yield from ()

    with pytest.raises(StopIteration):
        Prefetcher(maker(Broken())).take()


def test_a_thread_that_a_fork_has_left_behind_is_told():
    ahead = Prefetcher(maker(Counted()), depth=1)
    ahead.take()
    ahead._ahead.stop()
    ahead._ahead.thread.join()
    while not ahead._ahead.ready.empty():  # what the fork does not take along
        ahead._ahead.ready.get()
    with pytest.raises(StateError, match="the data's thread is not in this process"):
        ahead.take()


def test_closing_ends_it():
    ahead = Prefetcher(maker(Counted()))
    ahead.close()
    for _ in range(2):
        with pytest.raises(StateError, match="the data's source was closed"):
            ahead.take()


def test_a_net_goes_by_reference_count_and_its_thread_with_it():
    before = set(prefetching())
    gc.disable()
    try:
        net = make(LISTED)
        net.forward()
        (thread,) = set(prefetching()) - before
        watch = weakref.ref(net)
        del net
        assert watch() is None
    finally:
        gc.enable()
    thread.join(20)
    assert not thread.is_alive()


def test_a_closed_net_ends_its_thread_too():
    before = set(prefetching())
    with make(LISTED) as net:
        net.forward()
        (thread,) = set(prefetching()) - before
    thread.join(20)
    assert not thread.is_alive()


def test_collecting_nets_on_the_decoding_threads_does_not_hang():
    """Nets in cycles are collected on whichever thread runs: that must not wait for the nets' own threads."""
    for _ in range(30):
        cycle = [make(LISTED)]
        cycle.append(cycle)
        cycle[0].forward()
        cycle = None
    gc.collect()
    assert eventually(lambda: not prefetching())


@pytest.mark.parametrize("mode", ["cpu", "gpu-ascending", REAL])
def test_data_reach_the_layers_above(mode):
    text = LISTED + 'layer { name: "twice" type: "Power" bottom: "data" top: "twice" power_param { scale: 2 } }'
    expected = make(LISTED)
    with running(mode):
        net = make(text)
        for _ in range(4):
            np.testing.assert_array_equal(net.forward()["twice"], 2 * expected.forward()["data"])
            np.testing.assert_array_equal(net.blobs["label"].data, expected.blobs["label"].data)


@pytest.mark.parametrize("mode", ["cpu", "gpu-ascending", REAL])
def test_layers_follow_the_size_of_each_batch(mode):
    text = (
        'layer { name: "d" type: "ImageData" top: "data" top: "label" '
        'image_data_param { source: "lists/all.txt" root_folder: "images/" batch_size: 1 } }'
        'layer { name: "twice" type: "Power" bottom: "data" top: "twice" power_param { scale: 2 } }'
    )
    with running(mode):
        net = make(text)
        shapes = []
        for _ in range(12):
            out = net.forward()["twice"]
            np.testing.assert_array_equal(out, 2 * net.blobs["data"].data)
            shapes.append(out.shape[2:])
    assert shapes == [(28, 36)] * 8 + [(27, 45), (50, 33), (24, 60), (41, 41)]


def test_bad_records_of_a_layer():
    net = make(CORRUPT)
    for _ in range(2):
        with pytest.raises(CaffeError, match=r"^layer 'd' \(Data\): LMDB .*, key '0001' is no Datum"):
            net.forward()
    with data.skip_bad_records():
        net = make(CORRUPT)
    out = net.forward()
    assert out["data"].shape == (3, 3, 8, 8)
    assert net.layers[0].skipped >= 1
    assert make(CORRUPT.replace("batch_size: 3", "batch_size: 1")).layers[0].skipped == 0


def test_iterators_for_python():
    source = data.ImageListSource("lists/same.txt", "images/")
    transform = data.DataTransformer(TransformationParameter(crop_size=20, scale=0.5), caffe.TEST)
    stream = data.batches(source, 3, transform)
    images, labels = next(stream)
    later, _ = next(stream)
    assert images.shape == (3, 3, 20, 20)
    assert labels.tolist() == [3, 1, 4]
    expected = make(
        'layer { name: "d" type: "ImageData" top: "data" top: "label" transform_param { crop_size: 20 scale: 0.5 } '
        'image_data_param { source: "lists/same.txt" root_folder: "images/" batch_size: 3 } }'
    )
    np.testing.assert_array_equal(images, expected.forward()["data"])
    np.testing.assert_array_equal(later, expected.forward()["data"])
    before = prefetching()
    stream.close()
    assert eventually(lambda: len(prefetching()) < len(before))


def test_caffepy_train_leaves_them_out_when_told_to(tmp_path):
    (tmp_path / "net.prototxt").write_text(
        CORRUPT + 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" '
        "inner_product_param { num_output: 9 } }"
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }'
    )
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{tmp_path / "net.prototxt"}" base_lr: 0.001 lr_policy: "fixed" max_iter: 3 snapshot_after_train: false'
    )
    line = ["train", str(tmp_path / "solver.prototxt"), "--allow", "db/"]
    told = CliRunner().invoke(main, [*line, "--skip-bad-records"])
    assert "bad record left out, number 1: LMDB 'db/lmdb_corrupt_middle', key '0001' is no Datum" in told.stderr
    assert "bad records were left out" in told.stderr
    assert told.exit_code == 0
    plain = CliRunner().invoke(main, line)
    assert plain.exit_code == 1
    assert "key '0001' is no Datum" in plain.stderr
