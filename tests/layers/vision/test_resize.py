"""Images of another size, against the definition place by place."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.runner import build, check_gradient, check_manners, fill


def at(i, extent, resized, corners=False, centers=False):
    """Where row i of the top stands among the bottom's rows."""
    if corners:
        return i * (extent - 1) / (resized - 1) if resized > 1 else 0.0
    return (i + 0.5) * extent / resized - 0.5 if centers else i * extent / resized


def bilinear(x, height, width, **how):
    top = np.zeros((*x.shape[:2], height, width))
    for i, j in np.ndindex(height, width):
        for axis_y, y in (("a", i), ("b", i)):
            for axis_x, k in (("a", j), ("b", j)):
                here = [at(y, x.shape[2], height, **how), at(k, x.shape[3], width, **how)]
                here = [min(max(v, 0), extent - 1) for v, extent in zip(here, x.shape[2:], strict=True)]
                low = [int(np.floor(v + 1e-9)) for v in here]
                part = [max(v - base, 0) for v, base in zip(here, low, strict=True)]
                row, column = low[0] + (axis_y == "b"), low[1] + (axis_x == "b")
                weight = (part[0] if axis_y == "b" else 1 - part[0]) * (part[1] if axis_x == "b" else 1 - part[1])
                if weight:
                    top[:, :, i, j] += weight * x[:, :, min(row, x.shape[2] - 1), min(column, x.shape[3] - 1)]
    return top


def nearest(x, height, width, corners=False, centers=False):
    top = np.zeros((*x.shape[:2], height, width))
    for i, j in np.ndindex(height, width):
        places = [at(i, x.shape[2], height, corners, centers), at(j, x.shape[3], width, corners, centers)]
        row, column = (int(np.floor(v + (0.5 if corners or centers else 0) + 1e-9)) for v in places)
        top[:, :, i, j] = x[:, :, row, column]
    return top


def check(text, shapes, expected):
    case = build(text, shapes)
    rng = np.random.default_rng(0)
    fill(case, rng)
    (top,) = case.forward()
    want = expected(case.bottom[0].data)
    assert top.shape == want.shape
    np.testing.assert_allclose(top, want, 1e-5, 1e-5)
    check_gradient(case, 0, rng)
    check_manners(case, rng)


@pytest.mark.parametrize("size", [(5, 4), (10, 8), (3, 7), (1, 1)])
def test_mask_resize(size):
    text = f'type: "MaskResize" mask_resize_param {{ output_height: {size[0]} output_width: {size[1]} }}'
    check(text, [(2, 3, 5, 4)], lambda x: bilinear(x, *size))
    with pytest.raises(LayerError, match="the top would be 11 x 4, more than twice as large"):
        build('type: "MaskResize" mask_resize_param { output_height: 11 output_width: 4 }', [(2, 3, 5, 4)])


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        ("height: 7 width: 9", lambda x: bilinear(x, 7, 9, corners=True)),
        ("height: 1 width: 2", lambda x: bilinear(x, 1, 2, corners=True)),
        ("zoom_factor: 3", lambda x: bilinear(x, 13, 10, corners=True)),
        ("shrink_factor: 2", lambda x: bilinear(x, 3, 2, corners=True)),
        ("shrink_factor: 2 zoom_factor: 2", lambda x: bilinear(x, 5, 3, corners=True)),
        ("pad_beg: -1 pad_end: -2 height: 4 width: 5", lambda x: bilinear(x[:, :, 1:-2, 1:-2], 4, 5, corners=True)),
    ],
)
def test_interp(param, expected):
    check(f'type: "Interp" interp_param {{ {param} }}', [(2, 3, 5, 4)], expected)


def test_interp_as_a_second_bottom():
    check('type: "Interp"', [(2, 3, 5, 4), (1, 1, 8, 3)], lambda x: bilinear(x, 8, 3, corners=True))


@pytest.mark.parametrize("size", [(7, 9), (3, 2), (10, 8), (1, 1)])
@pytest.mark.parametrize("how", ["", "align_corners: true", "half_pixel_centers: true"])
@pytest.mark.parametrize(("kind", "by_definition"), [("Bilinear", bilinear), ("NearestNeighbor", nearest)])
def test_tensorflow(kind, by_definition, how, size):
    field = "resize_bilinear_param" if kind == "Bilinear" else "resize_nearest_neighbor_param"
    flags = {"corners": "align" in how, "centers": "half" in how}
    param = f"{how} output_height: {size[0]} output_width: {size[1]}"
    text = f'type: "Resize{kind}" {field} {{ {param} data_format: "NCHW" }}'
    check(text, [(2, 3, 5, 4)], lambda x: by_definition(x, *size, **flags))
    text = f'type: "Resize{kind}" {field} {{ {param} }}'

    def last(x):
        return by_definition(x.transpose(0, 3, 1, 2), *size, **flags).transpose(0, 2, 3, 1)

    check(text, [(1, 5, 4, 2)], last)


def test_a_scale():
    param = 'scale_height: 2 scale_width: 3 data_format: "NCHW"'
    text = f'type: "ResizeNearestNeighbor" resize_nearest_neighbor_param {{ {param} }}'
    check(text, [(1, 2, 3, 2)], lambda x: x.repeat(2, 2).repeat(3, 3))


def test_darknet():
    text = 'type: "UpsampleDarknet" upsample_darknet_param { stride: 2 }'
    check(text, [(1, 2, 3, 2)], lambda x: x.repeat(2, 2).repeat(2, 3))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('type: "Interp"', "give height and width, zoom_factor, shrink_factor, or a second bottom"),
        ('type: "Interp" interp_param { pad_beg: 1 }', "pad_beg: 1 and pad_end: 0 only cut off"),
        ('type: "Interp" interp_param { pad_beg: -3 }', "pad_beg: -3 and pad_end: 0 leave nothing"),
        ('type: "Interp" interp_param { zoom_factor: 0 }', "shrink_factor: 1, zoom_factor: 0: give 1 at least"),
        ('type: "Interp" interp_param { height: 0 width: 5 }', "the top would be 0 x 5 for bottom shape"),
        (
            'type: "ResizeBilinear" resize_bilinear_param { scale_height: 2 scale_width: nan }',
            "scale_height: 2 and scale_width: nan must be above 0",
        ),
        ('type: "ResizeBilinear"', "give output_height and output_width, or scale_height and scale_width"),
        (
            'type: "ResizeBilinear" resize_bilinear_param { align_corners: true half_pixel_centers: true }',
            "give align_corners or half_pixel_centers, not both",
        ),
    ],
)
def test_errors(text, says):
    with pytest.raises(LayerError, match=says):
        build(text, [(1, 2, 3, 3)])


def test_a_picture_without_pixels():
    param = 'resize_nearest_neighbor_param { output_height: 2 output_width: 2 data_format: "NCHW" }'
    for shape in ((1, 2, 0, 3), (1, 2, 3, 0)):
        with pytest.raises(LayerError, match="is a picture without pixels; it needs 1 x 1 at least"):
            build(f'type: "ResizeNearestNeighbor" {param}', [shape])
