"""Operations of rules and of saliency methods."""

import numpy as np
import pytest

from caffepy.rules import operations as rules
from caffepy.saliency import operations as methods
from caffepy.saliency.methods import mask_operations as search
from caffepy.saliency.synthesis import operations as ascent
from tests.gpu_mode import check_bodies
from tests.kernels_on_cpu.basis.test_elementwise import floats

pytestmark = pytest.mark.usefixtures("gpu")
SIZES = (1, 4, 1027)


def blank(*shape: int) -> np.ndarray:
    return np.full(shape, np.nan, np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_parts(size: int, sign: float) -> None:
    values = floats(size, 0)
    check_bodies(rules.part_of, values, sign, blank(size))
    check_bodies(rules.part_of, values, sign, values, start=1)
    check_bodies(rules.favored, values, 0.25, sign, blank(size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("epsilon", [0.0, 1e-6, 0.5])
def test_quotients(size: int, epsilon: float) -> None:
    relevance, output = floats(size, 0), np.random.default_rng(1).standard_normal(size).astype(np.float32)
    output[: size // 3] = 0
    check_bodies(rules.relevance_quotient, relevance, output, epsilon, blank(size))
    check_bodies(rules.relevance_quotient, relevance, output, epsilon, relevance, start=1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("accumulate", [0, 1])
def test_products(size: int, accumulate: int) -> None:
    values, diff, relevance = (floats(size, seed) for seed in range(3))
    check_bodies(rules.relevance_product, values, diff, 0.5, accumulate, relevance)
    check_bodies(rules.relevance_product, None, diff, -2.0, accumulate, relevance)
    check_bodies(methods.product_of, values, diff, blank(size))


def test_rescaled() -> None:
    bottom, top, diff, derivative = (np.random.default_rng(s).standard_normal(34).astype(np.float32) for s in range(4))
    bottom[3], bottom[20] = bottom[20], bottom[3]
    bottom[17:20] = bottom[:3]  # no step there
    check_bodies(rules.rescale_backward, bottom, top, 17, diff, derivative, blank(34))


def test_means_of_halves() -> None:
    check_bodies(rules.halves_mean, floats(34, 0), 17, blank(34))


def test_rescaled_pools() -> None:
    bottom, top, diff, derivative = (np.random.default_rng(s).standard_normal(34).astype(np.float32) for s in range(4))
    bottom[17:20] = bottom[:3]
    check_bodies(rules.pool_rescale, top, 17, diff, blank(34))
    check_bodies(rules.pool_rescale_backward, bottom, 17, top, derivative, blank(34))


@pytest.mark.parametrize("local_size", [1, 3, 5])
def test_rescaled_normalization(local_size: int) -> None:
    rng = np.random.default_rng(0)
    bottom, diff = (rng.standard_normal((2, 1, 4, 6)).astype(np.float32) for _ in range(2))
    scale = rng.uniform(1, 3, bottom.shape).astype(np.float32)
    scale[1, :, :, :3] = scale[0, :, :, :3] + 1e-3
    check_bodies(rules.lrn_rescale_backward, bottom, scale, 24, 4, 6, local_size, 0.1, 0.75, diff, blank(2, 1, 4, 6))


@pytest.mark.parametrize("size", SIZES)
def test_what_is_kept_by_its_sign(size: int) -> None:
    judge = floats(size, 0)
    for sign in (1.0, -1.0):
        check_bodies(rules.keep_of_sign, judge, sign, floats(size, 1))


@pytest.mark.parametrize("missing", [(), (0, 1), (3,), (4,), (0, 1, 4)])
def test_folded_statistics(missing: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    mean, scale, shift = (rng.standard_normal(9).astype(np.float32) for _ in range(3))
    given = [mean, rng.uniform(0.5, 2, 9).astype(np.float32), 1e-3, scale, shift]
    for i in missing:
        given[i] = None
    check_bodies(rules.fold_statistics, *given, blank(9), blank(9))


@pytest.mark.parametrize("power", [1, 2])
def test_weighted_powers(power: int) -> None:
    values, weights, total = floats(5 * 37, 1), floats(6, 2), np.ones(37, np.float32)
    check_bodies(methods.weighted_powers, values, weights, 5, power, total)


@pytest.mark.parametrize("first", [0, 3, 4])
def test_noise(first: int) -> None:
    image, seed = floats(21, 0), np.array([7], np.int32)
    check_bodies(methods.noisy_forward, image, 21, seed, first, np.float32([0.5]), blank(6, 21), rtol=1e-4, atol=1e-5)


def test_noise_does_not_hang_on_how_it_is_split_up() -> None:
    image, seed, sigma = np.zeros(21, np.float32), np.array([7], np.int32), np.float32([2])
    whole, part = blank(8, 21), blank(3, 21)
    methods.noisy_forward.twin(image, 21, seed, 0, sigma, whole)
    methods.noisy_forward.twin(image, 21, seed, 4, sigma, part)
    np.testing.assert_array_equal(part, whole[4:7])


def test_paths_and_blends() -> None:
    start, end, alphas = floats(30, 0), floats(30, 1), np.linspace(0, 1, 4, dtype=np.float32)
    check_bodies(methods.path_forward, start, end, 30, 0, alphas, blank(4, 30))
    check_bodies(methods.path_forward, floats(120, 2), end, 30, 1, alphas, blank(4, 30))
    check_bodies(methods.slopes_forward, floats(120, 2), start, end, 30, blank(4), rtol=1e-4, atol=1e-5)
    masks = np.random.default_rng(2).random(4 * 10).astype(np.float32)
    check_bodies(methods.blend_forward, start, end, masks, 3, 10, blank(4, 30))


@pytest.mark.parametrize("positive", [0, 1])
def test_channel_sums(positive: int) -> None:
    values, weights = floats(2 * 5 * 7, 0), floats(10, 1)
    check_bodies(methods.channel_sum_forward, values, weights, 5, 7, positive, blank(2, 7))
    check_bodies(methods.channel_sum_forward, values, None, 5, 7, positive, blank(2, 7))


@pytest.mark.parametrize("inner", [1, 49, 300])
@pytest.mark.parametrize("plus_plus", [0, 1])
def test_cam_weights(inner: int, plus_plus: int) -> None:
    rng = np.random.default_rng(0)
    values, gradient = np.abs(rng.standard_normal(6 * inner)), rng.standard_normal(6 * inner)
    gradient[:2] = 0
    arrays = values.astype(np.float32), gradient.astype(np.float32)
    check_bodies(methods.cam_weights, *arrays, inner, plus_plus, blank(2, 3), rtol=1e-4, atol=1e-5)


def test_masks() -> None:
    corners = np.array([[0, 0], [3, 2], [-1, 5]], np.int32)
    check_bodies(methods.window_masks, corners, 6, 7, 3, 2, blank(3, 6, 7))
    grids, shifts = np.random.default_rng(0).random((3, 4, 4)).astype(np.float32), np.array([[0, 0], [1, 2], [2, 1]])
    check_bodies(methods.random_masks, grids, shifts.astype(np.int32), 4, 3, 3, 8, 7, blank(3, 8, 7))
    check_bodies(methods.ablate_forward, floats(30, 0), 5, 6, 2, blank(3, 5, 6))


@pytest.mark.parametrize(("source", "target", "inner"), [(3, 5, 4), (4, 1, 1), (1, 6, 7)])
def test_linear_maps_along_an_axis(source: int, target: int, inner: int) -> None:
    values, matrix = floats(2 * source * inner, 0), floats(target * source, 1)
    check_bodies(methods.mix_forward, values, matrix, source, target, inner, blank(2, target, inner))


def test_the_search_for_a_mask() -> None:
    rng = np.random.default_rng(0)
    places, mask_diff = (rng.random((2, 9)).astype(np.float32) for _ in range(2))
    places[0, 3] = places[0, 5]
    fading = rng.random((9, 9)).astype(np.float32)
    mask, level = blank(2, 9), blank(2, 9)
    check_bodies(search.soft_maximum, places, fading, 20.0, 9, mask, level, rtol=1e-4, atol=1e-5, start=2)
    search.soft_maximum(places, fading, 20.0, 9, mask, level)
    given = places, fading, 20.0, 9, mask, level, mask_diff
    check_bodies(search.soft_maximum_backward, *given, blank(2, 9), rtol=1e-3, atol=1e-4)
    check_bodies(search.area_backward, places, 9, 3, 0.5, mask_diff, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("turn", [1, 7])
def test_a_step_of_adam(turn: int) -> None:
    rng = np.random.default_rng(0)
    diff, first, second, values = (rng.random(33).astype(np.float32) for _ in range(4))
    check_bodies(search.adam_climb, diff, 0.05, 0.9, 0.99, turn, first, second, values, rtol=1e-4, atol=1e-5, start=3)


def test_ranges() -> None:
    values = np.random.default_rng(0).standard_normal(2 * 3 * 35).astype(np.float32)
    values[:35] = 0.5  # a channel that is the same all over
    for sizes in (0, 1):
        check_bodies(methods.ranges_of, values, 35, sizes, blank(6), blank(6))
    lows, highs = blank(6), blank(6)
    methods.ranges_of(values, 35, 0, lows, highs)
    check_bodies(methods.unit_range, values, 35, lows, highs, blank(6, 35), rtol=1e-4)
    lows, highs = blank(2), blank(2)
    methods.ranges_of(values, 105, 1, lows, highs)
    check_bodies(methods.unit_range_sum, values, 3, 35, lows, highs, blank(2, 35), rtol=1e-4)


def test_steps_of_ascent() -> None:
    rng = np.random.default_rng(0)
    image, gradient = (rng.standard_normal((1, 2, 4, 5)).astype(np.float32) for _ in range(2))
    for down, right in ((0, 0), (3, -2), (-7, 11)):
        check_bodies(ascent.rolled_forward, image, 4, 5, down, right, blank(1, 2, 4, 5))
    check_bodies(ascent.mean_size, image, 20, blank(2))
    for size, smoothing in ((0.5, 0.3), (0.0, 0.0)):
        given = image, gradient, np.float32([size]), 0.1, smoothing, 0.01, 4, 5
        check_bodies(ascent.ascend_forward, *given, blank(1, 2, 4, 5))
    check_bodies(ascent.clip_channels, np.float32([-0.5, 0]), np.float32([0.5, 0.1]), 2, 20, image)
    check_bodies(ascent.gram_forward, image, 2, 20, blank(2, 2), rtol=1e-4)
