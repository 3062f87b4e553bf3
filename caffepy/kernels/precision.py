"""How products are computed on a GPU: in fp32, or on request by tensor cores, for the whole process.

fp32    multiplied and summed in single precision: Caffe's numbers
tf32    factors may be rounded to 10 bits of mantissa and multiplied by tensor cores, sums stay in single precision;
        where that gains nothing, products stay in fp32. GPUs of compute capability 8.0 and newer.
3xtf32  likewise, but a factor is split into two such numbers, and only the product of the lesser ones is left out:
        errors are about fp32's, three times the work. Infinite factors give NaN

The CPU computes in fp32, whatever is asked for.
"""

from typing import Literal, cast, get_args

from caffepy import device
from caffepy.errors import ArgumentError, DeviceError

Precision = Literal["fp32", "tf32", "3xtf32"]

_asked: Precision = "fp32"


def current() -> Precision:
    """What products on the running device may be computed in. Raises DeviceError where it cannot do what was asked."""
    running = device.current()
    if isinstance(running, device.Cpu):
        return _asked
    if _asked != "fp32" and running.compute_capability < 80:
        major, minor = divmod(running.compute_capability, 10)
        raise DeviceError(
            f"precision {_asked} needs a GPU of compute capability 8.0 or newer, this one has {major}.{minor}; "
            'call set_precision("fp32")'
        )
    return _asked


def set_precision(name: str) -> None:
    """Compute every following product on a GPU in "fp32", as at first, in "tf32" or in "3xtf32".

    Raises ArgumentError for another name, DeviceError if the running GPU cannot; nothing is changed then.
    """
    global _asked
    if name not in get_args(Precision):
        raise ArgumentError(f"precision {name!r}: give one of {', '.join(get_args(Precision))}")
    before, _asked = _asked, cast(Precision, name)
    try:
        current()
    except DeviceError:
        _asked = before
        raise
