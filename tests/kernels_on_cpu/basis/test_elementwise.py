"""Operations that go value by value: copies, activations, Power, Eltwise."""

import numpy as np
import pytest

from caffepy import kernels
from caffepy.kernels import Kernel
from caffepy.layers.activation.activations import elu_backward
from caffepy.layers.activation.power import power_backward, power_forward
from caffepy.layers.activation.relu import relu_backward, relu_forward
from caffepy.layers.utility.eltwise import (
    eltwise_max_backward,
    eltwise_max_forward,
    eltwise_max_further_forward,
    eltwise_sum_backward,
    eltwise_sum_forward,
)
from tests.gpu_mode import check_bodies

SIZES = (1, 4, 1027)
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 88.5, -88.5, 1e-30)

pytestmark = pytest.mark.usefixtures("gpu")


def floats(size: int, seed: int) -> np.ndarray:
    """Noise, of which the last values are special where there are so many."""
    noise = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    if size > 100:
        noise[-8:] = np.roll(SPECIAL, seed)
    return noise


def check(operation: Kernel, inputs: int, size: int, **options) -> None:
    """Out of place, in place and at addresses where no float4 can stand."""
    arrays = [floats(size, seed) for seed in range(inputs)]
    written = np.full(size, np.nan, np.float32)
    check_bodies(operation, *arrays, written, **options)
    check_bodies(operation, *arrays, written, start=1, **options)
    if arrays:
        check_bodies(operation, *arrays, arrays[-1], **options)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("copy_forward", 1),
        ("copy_backward", 1),
        ("split_backward", 2),
        ("sigmoid_forward", 1),
        ("sigmoid_backward", 2),
        ("tanh_forward", 1),
        ("tanh_backward", 2),
        ("dropout_backward", 2),
        ("eltwise_prod_forward", 2),
        ("absval_forward", 1),
        ("absval_backward", 2),
        ("bnll_forward", 1),
        ("bnll_backward", 2),
        ("hard_swish_forward", 1),
        ("hard_swish_backward", 2),
        ("relu6_forward", 1),
        ("relu6_backward", 2),
        ("silence_backward", 0),
    ],
)
def test_without_constants(name: str, inputs: int, size: int) -> None:
    check(kernels.ALL[name], inputs, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("slope", [0.0, 0.25, 2.0])
def test_relu(slope: float, size: int) -> None:
    check(relu_forward, 1, size, negative_slope=slope, rtol=0, atol=0)
    check(relu_backward, 2, size, negative_slope=slope)


@pytest.mark.parametrize(
    ("name", "inputs", "constants"),
    [
        ("clip_forward", 1, {"lowest": -0.5, "highest": 0.75}),
        ("clip_backward", 2, {"lowest": -0.5, "highest": 0.75}),
        ("elu_forward", 1, {"alpha": 0.25}),
        ("exp_forward", 1, {"rate": -0.5, "factor": 2.0}),
        ("exp_backward", 2, {"rate": -0.5, "factor": 2.0}),
        ("log_forward", 1, {"factor": 0.5, "scale": -2.0, "shift": 0.75}),
        ("log_backward", 2, {"factor": 0.5, "scale": -2.0, "shift": 0.75}),
        ("swish_forward", 1, {"beta": 1.5}),
        ("swish_backward", 2, {"beta": 1.5}),
        ("threshold_forward", 1, {"threshold": 0.25}),
    ],
)
def test_with_constants(name: str, inputs: int, constants: dict[str, float]) -> None:
    check(kernels.ALL[name], inputs, 1027, **constants)


@pytest.mark.parametrize("start", [0, 1])
def test_elu_backward(start: int) -> None:
    bottom, diff, written = floats(1027, 0), floats(1027, 1), np.full(1027, np.nan, np.float32)
    top = np.where(bottom > 0, bottom, np.float32(-0.25) * np.expm1(bottom)).astype(np.float32)
    for signs, values in ((bottom, top), (bottom, bottom)):
        check_bodies(elu_backward, signs, values, diff, written, alpha=-0.25, start=start)
        check_bodies(elu_backward, signs, values, diff, diff, alpha=-0.25, start=start)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0, 3.0, 0.37])
def test_power(power: float) -> None:
    constants = {"power": power, "scale": -0.5, "shift": 0.75}
    check(power_forward, 1, 1027, **constants)
    check(power_backward, 2, 1027, **constants)


@pytest.mark.parametrize("coeffs", [(1.0, 1.0), (2.0, -0.5)])
def test_eltwise_sum(coeffs: tuple[float, float]) -> None:
    check(eltwise_sum_forward, 2, 1027, first_coeff=coeffs[0], second_coeff=coeffs[1])
    check(eltwise_sum_backward, 1, 1027, coeff=coeffs[1])


@pytest.mark.parametrize("start", [0, 1])
def test_eltwise_max(start: int) -> None:
    a, b, c = (floats(1027, seed) for seed in range(3))
    b[:100] = a[:100]  # ties
    mask, top = np.full(1027, -5, np.int32), np.full(1027, np.nan, np.float32)
    check_bodies(eltwise_max_forward, a, b, mask, top, rtol=0, atol=0, start=start)
    eltwise_max_forward(a, b, mask, top)
    check_bodies(eltwise_max_further_forward, c, 2, mask, top, rtol=0, atol=0, start=start)
    eltwise_max_further_forward(c, 2, mask, top)
    for index in range(3):
        check_bodies(eltwise_max_backward, a, mask, index, np.full_like(a, np.nan), rtol=0, atol=0, start=start)


def test_nothing_is_launched_for_nothing() -> None:
    nothing = np.empty(0, np.float32)
    check_bodies(relu_forward, nothing, nothing, negative_slope=0.0)
