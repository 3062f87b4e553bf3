"""Operations that put values elsewhere: Tile, Crop, BatchReindex, Im2col; and SPP, which gathers windows."""

import numpy as np
import pytest

from caffepy.layers.basis.rows import gather_backward, gather_forward
from caffepy.layers.utility.tile import tile_backward, tile_forward
from caffepy.layers.vision.spp import spp_backward, spp_forward
from caffepy.proto.caffe_pb2 import SPPParameter
from tests.gpu_mode import check_bodies, running
from tests.layers.runner import build, fill


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("outer", "tiles", "run"), [(3, 4, 100), (1, 1, 1), (70, 2, 5)])
def test_tile(outer: int, tiles: int, run: int) -> None:
    part, whole = noise(outer, run), noise(outer, tiles, run)
    check_bodies(tile_forward, part, tiles, run, np.full_like(whole, np.nan), rtol=0, atol=0)
    check_bodies(tile_backward, whole, tiles, run, np.full_like(part, np.nan))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("inner", [1, 130])
@pytest.mark.parametrize("places", [[1, 1, 0.9, 4, 1], [-1, np.nan, 5, 1e30, 2, -0.5], [3]])
def test_rows_that_are_none_become_zeros(places: list[float], inner: int) -> None:
    rows, chosen = noise(5, inner), np.array(places, np.float32)
    top = noise(len(places), inner)
    check_bodies(gather_forward, rows, chosen, 5, len(places), np.full_like(top, np.nan), rtol=0, atol=0)
    check_bodies(gather_backward, top, chosen, 5, len(places), np.full_like(rows, np.nan))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("pool", [SPPParameter.MAX, SPPParameter.AVE])
@pytest.mark.parametrize(
    ("shape", "levels"), [((2, 3, 9, 8), 3), ((1, 2, 37, 41), 1), ((1, 1, 15, 22), 4), ((3, 1, 1, 1), 1)]
)
def test_spp(shape: tuple[int, int, int, int], levels: int, pool: int) -> None:
    data = noise(*shape).round(1)  # ties
    data[0, 0] = np.nan if pool == SPPParameter.MAX else 3
    features = shape[1] * sum(4**level for level in range(levels))
    top, mask = noise(shape[0], features), None
    if pool == SPPParameter.MAX:
        mask = np.full(top.shape, -5, np.int32)
    check_bodies(spp_forward, data, *shape[1:], levels, mask, np.full_like(top, np.nan), pool=pool)
    spp_forward(data, *shape[1:], levels, mask, top, pool=pool)
    diff = noise(*top.shape)
    check_bodies(spp_backward, diff, mask, *shape[1:], levels, np.full_like(data, np.nan), pool=pool)


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
