"""Axpy's operation."""

import pytest

from caffepy.layers.utility.axpy import axpy_forward
from tests.gpu_mode import check_bodies, noise

pytestmark = pytest.mark.usefixtures("gpu")


def test_axpy() -> None:
    check_bodies(axpy_forward, noise(6), noise(6, 7), 1 + noise(6, 7), 7, noise(6, 7))
