"""Fixtures that any test may ask for."""

from tests.gpu_mode import gpu

__all__ = ["gpu"]
