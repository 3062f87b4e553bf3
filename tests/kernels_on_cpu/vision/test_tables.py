"""Layers that work by tables of places: Im2col, Crop."""

import numpy as np
import pytest

from tests.gpu_mode import running
from tests.layers.runner import build, fill


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ('type: "Im2col" convolution_param { kernel_size: 3 stride: 2 pad: 2 dilation: 2 }', [(2, 3, 17, 14)]),
        ('type: "Im2col" convolution_param { kernel_size: 2 axis: 0 }', [(2, 3, 4, 5)]),
        ('type: "Crop" crop_param { axis: 0 offset: 1 offset: 0 offset: 3 }', [(3, 4, 50), (2, 3, 40)]),
    ],
)
def test_layers_with_tables(text: str, shapes: list[tuple[int, ...]]) -> None:
    def passes() -> tuple[np.ndarray, np.ndarray]:
        case = build(text, shapes)
        fill(case, np.random.default_rng(1))
        case.forward()
        case.top[0].diff[...] = np.random.default_rng(2).standard_normal(case.top[0].shape)
        case.backward([True, False][: len(shapes)])
        return case.top[0].data.copy(), case.bottom[0].diff.copy()

    top, diff = passes()
    with running("gpu-random"):
        found = passes()
    np.testing.assert_array_equal(found[0], top)
    np.testing.assert_allclose(found[1], diff, 1e-6)
