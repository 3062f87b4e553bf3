"""Which GPUs an option means."""

from caffepy import device
from caffepy.errors import ArgumentError


def numbers(text: str) -> list[int] | None:
    """`0,1`; None for `all`. Raises ArgumentError for anything else."""
    if text == "all":
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ArgumentError(f"--gpu {text!r}: give numbers such as 0 or 0,1, or all") from None


def count() -> int:
    """How many GPUs CUDA knows, 0 where CuPy or the driver is missing."""
    try:
        import cupy

        return int(cupy.cuda.runtime.getDeviceCount())
    except Exception:  # CuPy raises what its loader met; device.gpu says what it was
        return 0


def usable(text: str) -> list[int]:
    """The GPUs that are meant. Raises ArgumentError, or DeviceError, with the reason, where one cannot be used."""
    found = numbers(text)
    chosen = list(range(count())) or [0] if found is None else found
    for number in chosen:
        device.gpu(number)
    return chosen
