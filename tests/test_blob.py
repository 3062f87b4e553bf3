"""Storage, shapes, sharing."""

import numpy as np
import pytest

from caffepy.blob import Blob, SyncedArray, fit
from caffepy.errors import ArgumentError


def test_storage_is_made_on_first_use_zero_and_kept() -> None:
    storage = SyncedArray()
    assert storage.generation == 0
    first = storage.array(4)
    assert first.dtype == np.float32
    assert not first.any()
    assert np.shares_memory(storage.array(2), first)
    assert storage.array(4).ctypes.data == first.ctypes.data
    assert storage.generation == 1
    storage.array(5)
    assert storage.generation == 2


def test_a_blob_is_a_shape_over_memory() -> None:
    blob = Blob((2, 3))
    blob.data[...] = [[1, 2, 3], [4, 5, 6]]
    blob.reshape(3, 2)
    assert blob.data.tolist() == [[1, 2], [3, 4], [5, 6]]
    blob.reshape((2, 2))
    assert blob.data.tolist() == [[1, 2], [3, 4]]
    blob.reshape([6])
    assert blob.data.tolist() == [1, 2, 3, 4, 5, 6]
    assert (blob.shape, blob.count) == ((6,), 6)
    blob.reshape()
    assert blob.shape == ()
    assert blob.data == 1


def test_legacy_extents() -> None:
    blob = Blob((2, 3))
    assert (blob.num, blob.channels, blob.height, blob.width) == (2, 3, 1, 1)
    with pytest.raises(ArgumentError, match="at most 4 axes"):
        _ = Blob((1,) * 5).num


def test_data_and_diff_have_no_setter() -> None:
    with pytest.raises(AttributeError):
        Blob((1,)).data = np.zeros(1)


def test_sharing_survives_growth() -> None:
    owner, sharer = Blob((2,)), Blob((1, 2))
    sharer.share_data(owner)
    owner.data[...] = 3
    assert sharer.data.tolist() == [[3, 3]]
    owner.reshape(1000)
    sharer.reshape(10, 100)
    owner.data[999] = 7
    assert sharer.data[9, 99] == 7
    assert not np.shares_memory(owner.diff, sharer.diff)
    sharer.share_diff(owner)
    assert np.shares_memory(owner.diff, sharer.diff)


@pytest.mark.parametrize(
    ("value", "shape", "fits"),
    [
        ((1, 5, 1, 1), (1, 5), True),
        ((1, 5), (1, 5, 1, 1), True),
        ((5,), (1, 5, 1, 1), True),
        ((5,), (2, 5), True),
        ((), (2, 5), True),
        ((), (), True),
        ((1,), (), True),
        ((2, 1), (2, 5), True),
        ((5, 2), (2, 5), False),
        ((10,), (2, 5), False),
        ((2, 3, 4), (2, 12), False),
        ((2, 5), (5,), False),
    ],
)
def test_which_shapes_fit(value: tuple[int, ...], shape: tuple[int, ...], fits: bool) -> None:
    array = np.arange(int(np.prod(value)), dtype=np.float64).reshape(value)
    if fits:
        fitted = fit(array, shape, "x")
        assert (fitted.shape, fitted.dtype) == (shape, np.float32)
        np.testing.assert_array_equal(np.unique(fitted), array.ravel())
    else:
        with pytest.raises(ArgumentError, match="x: shape"):
            fit(array, shape, "x")
