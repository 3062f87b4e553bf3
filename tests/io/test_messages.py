"""Arrays as BlobProto and Datum messages, there and back."""

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from caffepy import io
from caffepy.errors import ArgumentError
from caffepy.proto import caffe_pb2
from tests.io.numbers import RANDOM, picture


def test_blobproto_round_trip() -> None:
    data, diff = picture(2, 3, 4), picture(2, 3, 4)
    blob = caffe_pb2.BlobProto.FromString(io.array_to_blobproto(data, diff).SerializeToString())
    assert list(blob.shape.dim) == [2, 3, 4]
    np.testing.assert_array_equal(io.blobproto_to_array(blob), data)
    np.testing.assert_array_equal(io.blobproto_to_array(blob, return_diff=True), diff)


def test_a_legacy_blobproto_is_four_dimensional() -> None:
    blob = caffe_pb2.BlobProto(num=1, channels=2, height=1, width=3, data=range(6))
    np.testing.assert_array_equal(io.blobproto_to_array(blob), np.arange(6.0).reshape(1, 2, 1, 3))


def test_double_data_is_read() -> None:
    blob = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=[2]), double_data=[0.1, 0.2])
    np.testing.assert_array_equal(io.blobproto_to_array(blob), [0.1, 0.2])


def test_blobprotovector_round_trip() -> None:
    arrays = [picture(2, 3), picture(4)]
    back = io.blobprotovector_str_to_arraylist(io.arraylist_to_blobprotovector_str(arrays))
    for one, other in zip(arrays, back, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int32])
def test_datum_round_trip(dtype: type) -> None:
    array = RANDOM.integers(0, 256, (3, 4, 5)).astype(dtype)
    datum = io.array_to_datum(array, 7)
    assert (datum.channels, datum.height, datum.width, datum.label) == (3, 4, 5, 7)
    assert bool(datum.data) == (dtype is np.uint8)
    back = io.datum_to_array(datum)
    np.testing.assert_array_equal(back, array)
    back[0] = 0  # its own memory
    assert not io.array_to_datum(array).HasField("label")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: io.array_to_datum(picture(4, 4)), r"expected \(channels, height, width\), found shape \(4, 4\)"),
        (lambda: io.datum_to_array(caffe_pb2.Datum(data=b"x", encoded=True)), r"encoded .* load_image\(io.BytesIO"),
        (lambda: io.datum_to_array(caffe_pb2.Datum(channels=1, height=2, width=2, data=b"x")), r"1 values for shape"),
        (lambda: io.array_to_blobproto(picture(2), picture(3)), r"the diff's shape is \(3,\), the data's \(2,\)"),
        (
            lambda: io.blobproto_to_array(caffe_pb2.BlobProto(num=2, data=[1])),
            r"shape \(2, 0, 0, 0\), which is 0 values, and 1 are stored",
        ),
        (lambda: io.blobproto_to_array(io.array_to_blobproto([1]), True), r"holds no diff: leave return_diff out"),
    ],
)
def test_messages_that_do_not_fit_are_value_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("label", [3, 3.0, np.int64(3), np.float32(3), np.uint8(3), np.array([3]), np.array(3.0)])
def test_a_label_is_a_whole_number_of_any_type(label: Any) -> None:
    assert io.array_to_datum(np.zeros((1, 2, 2), np.uint8), label).label == 3


@pytest.mark.parametrize("label", [2.5, "3", np.array([3, 4]), np.array([]), np.nan, np.inf, 2**31, [None]])
def test_what_is_no_label_is_refused(label: Any) -> None:
    with pytest.raises(ArgumentError, match=r"label is .*, expected a whole number of 32 bits"):
        io.array_to_datum(np.zeros((1, 2, 2), np.uint8), label)


def test_what_scripts_reach_through_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    assert io.np is np
    assert io.caffe_pb2 is caffe_pb2
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.io", None)
    with pytest.raises(AttributeError, match=r"scikit-image is not installed: pip install scikit-image, or use load_"):
        _ = io.skimage
    found = types.ModuleType("skimage")
    monkeypatch.setitem(sys.modules, "skimage", found)
    monkeypatch.setitem(sys.modules, "skimage.io", types.ModuleType("skimage.io"))
    assert io.skimage is found
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = io.nothing
