"""Crop without crop_param, as nets of FCN's and HED's days have it: what the warning says."""

import logging

import numpy as np
import pytest

from caffepy import coord_map
from caffepy import layers as L
from caffepy.net_spec import NetSpec
from tests.nets import make, noise

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 1 dim: 20 dim: 24 } } }\n'


def conv(bottom: str, top: str, settings: str) -> str:
    weights = 'weight_filler { type: "constant" value: 1 }'
    return (
        f'layer {{ name: "{top}" type: "Convolution" bottom: "{bottom}" top: "{top}" '
        f"convolution_param {{ num_output: 1 {settings} {weights} }} }}\n"
    )


def crop(bottom: str, settings: str = "") -> str:
    return f'layer {{ name: "crop" type: "Crop" bottom: "{bottom}" bottom: "x" top: "{bottom}-crop" {settings} }}\n'


POOL = 'layer { name: "p" type: "Pooling" bottom: "a" top: "p" pooling_param { kernel_size: 2 stride: 2 } }\n'
UP = (
    'layer { name: "up" type: "Deconvolution" bottom: "p" top: "up" '
    "convolution_param { num_output: 1 kernel_size: 4 stride: 2 } }\n"
)
SIDES = INPUT + conv("x", "a", "kernel_size: 3 pad: 8") + POOL + UP


def test_one_warning_names_each_offset(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "caffepy"):
        make(SIDES + crop("a").replace('"crop"', '"crop-a"') + crop("up"))
    (record,) = caplog.records
    assert "'a-crop' (offset: 7), 'up-crop' (offset: 8)" in record.getMessage()
    n = NetSpec()
    n.x = L.Input(shape={"dim": [1, 1, 20, 24]})
    n.a = L.Convolution(n.x, num_output=1, kernel_size=3, pad=8)
    n.up = L.Deconvolution(L.Pooling(n.a, kernel_size=2, stride=2), num_output=1, kernel_size=4, stride=2)
    for top, offset in ((n.a, 7), (n.up, 8)):
        assert coord_map.crop(top, n.x).fn.params["crop_param"]["offset"] == [offset]


def test_at_that_offset_pixels_coincide(caplog: pytest.LogCaptureFixture) -> None:
    """A 3 x 3 mean is centred on its pixel; at 0 it is 7 pixels away, as in BVLC."""
    x = noise(1, 1, 20, 24)
    text = INPUT + conv("x", "a", "kernel_size: 3 pad: 8")
    expected = sum(np.pad(x[0, 0], 1)[i : i + 20, j : j + 24] for i in range(3) for j in range(3))
    with caplog.at_level(logging.WARNING, "caffepy"):
        right = make(text + crop("a", "crop_param { axis: 2 offset: 7 }")).forward(x=x)["a-crop"][0, 0]
        assert not caplog.records
        cut = make(text + crop("a")).forward(x=x)["a-crop"][0, 0]
    np.testing.assert_allclose(right, expected, atol=1e-5)
    np.testing.assert_allclose(cut[7:, 7:], expected[:-7, :-7], atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        INPUT + conv("x", "a", "kernel_size: 3 pad: 1") + crop("a"),  # pixels coincide at 0
        INPUT
        + conv("x", "a", "kernel_size: 3 pad: 8")
        + crop("a", "crop_param { axis: 2 }"),  # 0 is what was asked for
    ],
)
def test_where_there_is_nothing_to_say_nothing_is_said(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "caffepy"):
        make(text)
    assert not caplog.records
