"""Values put around a blob and cut off it."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


def space_to_batch(x, sizes, paddings):
    """Item (place, n) has the values at this place of every block."""
    x = np.pad(x, [(0, 0), *paddings])
    places = [x[:, i :: sizes[0], j :: sizes[1]] for i in range(sizes[0]) for j in range(sizes[1])]
    return np.concatenate(places)


BLOCKS = "block_shape: 2 block_shape: 3 block_shape: 1"


@pytest.mark.parametrize(
    ("text", "shape", "expected"),
    [
        (
            'type: "Pad" pad_param { paddings: [0, 0, 1, 2, 0, 3, 4, 0] constant_values: 5 }',
            (2, 3, 4, 5),
            lambda x: np.pad(x, [(0, 0), (1, 2), (0, 3), (4, 0)], constant_values=5),
        ),
        ('type: "Pad" pad_param { paddings: [2, 1] }', (3,), lambda x: np.pad(x, [(2, 1)])),
        (
            'type: "CropCenter" crop_center_param { crop_size: [0, 0, 2, 1] }',
            (2, 3, 6, 5),
            lambda x: x[:, :, 2:-2, 1:-1],
        ),
        (
            f'type: "SpaceToBatchND" space_to_batch_nd_param {{ {BLOCKS} paddings: [1, 0, 0, 2, 0, 0] }}',
            (2, 3, 4, 2),
            lambda x: space_to_batch(x, (2, 3), [(1, 0), (0, 2), (0, 0)]),
        ),
    ],
)
def test_margins(text, shape, expected):
    case = build(text, [shape])
    rng = np.random.default_rng(0)
    fill(case, rng)
    np.testing.assert_array_equal(case.forward()[0], expected(case.bottom[0].data))
    check_gradient(case, 0, rng)
    check_manners(case, rng)


def test_batch_to_space_undoes_space_to_batch():
    case = build(
        f'type: "BatchToSpaceND" batch_to_space_nd_param {{ {BLOCKS} crops: [1, 0, 0, 2, 0, 0] }}', [(12, 2, 2, 2)]
    )
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, 3, 4, 2))
    case.bottom[0].data[...] = space_to_batch(image, (2, 3), [(1, 0), (0, 2), (0, 0)])
    np.testing.assert_array_equal(case.forward()[0], image.astype(np.float32))
    check_gradient(case, 0, rng)
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('type: "Pad" pad_param { paddings: [0, 0] }', "give 6 paddings, two for each of 3 axes, got 2"),
        ('type: "CropCenter" crop_center_param { crop_size: 1 }', "give one crop_size for each axis of bottom shape"),
        ('type: "CropCenter" crop_center_param { crop_size: [0, 2, 0] }', "leave nothing of shape"),
        ('type: "SpaceToBatchND" space_to_batch_nd_param { block_shape: 2 }', "give 2 block_shape, one for each axis"),
        (
            'type: "SpaceToBatchND" space_to_batch_nd_param { block_shape: [2, 2] paddings: [1, 0, 0, 0] }',
            r"block_shape \[2, 2\] must divide the padded shape \(2, 5, 6\)",
        ),
        (
            'type: "BatchToSpaceND" batch_to_space_nd_param { block_shape: [3, 1] crops: [0, 0, 0, 0] }',
            r"block_shape \[3, 1\] has 3 places, which must divide axis 0 of \(2, 4, 6\)",
        ),
    ],
)
def test_errors(text, says):
    with pytest.raises(LayerError, match=says):
        build(text, [(2, 4, 6)])
