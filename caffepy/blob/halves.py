"""Numbers of 16 bits: fp16 (10 bits of mantissa, 5 of exponent) and bf16 (7 and 8, a float's upper half)."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from caffepy import device

Format = Literal["fp16", "bf16"]
Halves = NDArray[np.uint16]


def rounded(values: NDArray[np.float32], number_format: Format) -> Halves:
    """The bits of the nearest numbers, of equally near ones of the even; what is too large becomes infinite."""
    if number_format == "fp16":
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(np.float16).view(np.uint16)
    bits = values.view(np.uint32)
    nearest = ((bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), nearest)


def widened(bits: Halves, number_format: Format) -> NDArray[np.float32]:
    """The numbers of these bits."""
    if number_format == "fp16":
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


class HalfHome:
    """A copy on a GPU, rounded: for reading only, so that nobody gets its values for the host's."""

    __slots__ = ("array", "gpu", "number_format")

    def __init__(self, gpu: device.Gpu, count: int, number_format: Format) -> None:
        self.gpu, self.number_format = gpu, number_format
        self.array: Any = gpu.zeros(count, np.uint16)

    def upload(self, host: NDArray[Any]) -> None:
        """array = host, rounded"""
        self.gpu.upload(rounded(host, self.number_format), self.array).wait()

    def download(self, host: NDArray[Any]) -> None:
        """host = array"""
        bits = np.empty(host.size, np.uint16)
        self.gpu.download(self.array, bits)
        host[...] = widened(bits, self.number_format)

    def take(self, other: object) -> bool:
        """The values come by the host."""
        return False
