"""SeLu's operations, and those that draw: SeLuDropout's and Insanity's."""

import pytest

from caffepy.layers.activation.insanity import insanity_forward
from caffepy.layers.activation.selu import selu_backward, selu_dropout_forward, selu_forward
from tests.gpu_mode import check_bodies, noise, whole

pytestmark = pytest.mark.usefixtures("gpu")


def test_drawn_at_random() -> None:
    for count in (64, 83):
        x, seed = noise(count), whole(1701)
        check_bodies(insanity_forward, x, seed, noise(count), noise(count), smallest=3.0, largest=8.0)
        check_bodies(insanity_forward, x, None, noise(count), noise(count), smallest=3.0, largest=8.0)
        numbers = {"dropout_ratio": 0.25, "scale": 0.9, "shift": 0.1, "dropped": -1.5}
        check_bodies(selu_dropout_forward, x, seed, noise(count), noise(count), **numbers)


@pytest.mark.parametrize("start", [0, 1])
def test_selu(start: int) -> None:
    x, y, dy = noise(83), 1 + noise(83), noise(83)
    check_bodies(selu_forward, x, y, start=start, scale=1.05, alpha=1.67)
    check_bodies(selu_backward, y, dy, x, start=start, scale=1.05, alpha=1.67)
