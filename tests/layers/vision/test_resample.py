"""Resample against its definition, pixel by pixel."""

import math

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


def cubic(d):
    d = abs(d)
    return 1.5 * d**3 - 2.5 * d**2 + 1 if d <= 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0


FILTERS = {"LINEAR": (lambda d: max(0, 1 - abs(d)), 2), "CUBIC": (cubic, 4)}


def resampled(image, height, width, kind, antialias):
    """The definition for one plane."""
    h, w = image.shape
    fy, fx = h / height, w / width
    top = np.zeros((height, width))
    for i, j in np.ndindex(height, width):
        y, x = i * fy + fx / 2 - 0.5, j * fx + fy / 2 - 0.5
        near_y, near_x = (math.floor(abs(v) + 0.5) * (1 if v >= 0 else -1) for v in (y, x))
        if kind == "NEAREST":
            top[i, j] = image[min(max(near_y, 0), h - 1), min(max(near_x, 0), w - 1)]
            continue
        curve, reach = FILTERS[kind]
        narrow = antialias and (fx > 1 or fy > 1)
        ay, ax = (1 / f if narrow else 1 for f in (fy, fx))
        ry, rx = (2 if f < 1 else math.ceil(reach / a) for f, a in ((fy, ay), (fx, ax)))
        total = weights = 0
        for r in range(max(0, near_y - ry), min(h, near_y + ry + 1)):
            for q in range(max(0, near_x - rx), min(w, near_x + rx + 1)):
                weight = curve((y - r) * ay) * curve((x - q) * ax)
                total, weights = total + weight * image[r, q], weights + weight
        top[i, j] = total / weights if weights else 0
    return top


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("kind", ["NEAREST", "LINEAR", "CUBIC"])
@pytest.mark.parametrize(("height", "width"), [(6, 8), (12, 16), (4, 3), (2, 2), (9, 5)])
def test_resample(height, width, kind, antialias):
    size = f"height: {height} width: {width} type: {kind} antialias: {antialias}".lower().replace(kind.lower(), kind)
    case = build(f'type: "Resample" resample_param {{ {size} }}', [(2, 2, 6, 8)])
    rng = np.random.default_rng(0)
    fill(case, rng)
    (top,) = case.forward()
    for n, c in np.ndindex(2, 2):
        image = case.bottom[0].data[n, c].astype(np.float64)
        np.testing.assert_allclose(top[n, c], resampled(image, height, width, kind, antialias), 1e-4, 1e-5)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_resample_takes_the_size_of_a_blob_or_a_factor():
    assert build('type: "Resample"', [(2, 3, 4, 5), (1, 1, 7, 2)]).top[0].shape == (2, 3, 7, 2)
    assert build('type: "Resample" resample_param { factor: 1.5 }', [(2, 3, 4, 5)]).top[0].shape == (2, 3, 6, 7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "give resample_param { height and width } or { factor }, or a bottom 1"),
        ("type: AREA width: 2 height: 2", "type: AREA is not there; give NEAREST, LINEAR or CUBIC"),
        ("factor: inf", "factor: inf must be a number above 0"),
        ("factor: nan", "factor: nan must be a number above 0"),
        ("factor: 0.1", r"cannot make 0 x 0 of bottom shape \(1, 2, 4, 4\); give 1 x 1"),
    ],
)
def test_resample_says(text, says):
    with pytest.raises(LayerError, match=says):
        build(f'type: "Resample" resample_param {{ {text} }}', [(1, 2, 4, 4)])
