"""The data benchmark runs, and its pictures are ones that both decoders agree on."""

import io

import numpy as np
import pytest
from PIL import Image

from caffepy.data import decode


def test_it_measures_what_it_says():
    pytest.importorskip("lmdb", reason="lmdb, which writing an LMDB needs, is not installed")
    from benchmarks.data import draw, measure

    result = measure(rounds=1, pictures=3, steps=2)
    assert all(rate["median"] > 0 for rate in result["decoding, pictures a second"].values())
    assert 0 <= result["LeNet"]["share waiting for data, median"] < 1
    for jpeg in draw(2):
        expected = np.asarray(Image.open(io.BytesIO(jpeg)))
        np.testing.assert_array_equal(decode(jpeg, True, "it"), expected[..., ::-1])
        assert expected.std() > 20
