"""Input: its tops' shapes."""

import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ('top: "a" input_param { shape { dim: 2 dim: 3 } }', [(2, 3)]),
        ('top: "a" top: "b" input_param { shape { dim: 2 } }', [(2,), (2,)]),
        ('top: "a" top: "b" input_param { shape { dim: 2 } shape { dim: 3 dim: 0 } }', [(2,), (3, 0)]),
        ('top: "a" input_param { shape { } }', [()]),
        ('top: "a" top: "b"', [(), ()]),
    ],
)
def test_shapes(text, shapes):
    case = build(f'type: "Input" {text}', [])
    assert [top.shape for top in case.top] == shapes


def test_data_stay_as_they_are():
    case = build('type: "Input" input_param { shape { dim: 2 } }', [])
    case.top[0].data[...] = [3, 4]
    assert case.forward()[0].tolist() == [3, 4]
    case.backward()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('top: "a" top: "b" top: "c" input_param { shape { } shape { } }', "2 shapes for 3 tops; give one"),
        ('top: "a" input_param { shape { dim: -1 } }', r"shape \(-1,\): every dim must be at least 0"),
        ('bottom: "x" top: "a"', "takes 0 bottom"),
    ],
)
def test_errors(text, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "Input" {text}', [(1,)] * text.count("bottom:"))
