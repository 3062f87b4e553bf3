"""How products are computed on a GPU: in fp32, or on request by tensor cores, for the whole process.

fp32    multiplied and summed in single precision: Caffe's numbers
tf32    factors may be rounded to 10 bits of mantissa and multiplied by tensor cores, sums stay in single precision;
        where that gains nothing, products stay in fp32
3xtf32  likewise, but a factor is split into two such numbers, and only the product of the lesser ones is left out:
        errors are about fp32's, three times the work. Infinite factors give NaN
fp16    the weights of convolutions and inner products lie on the GPU in 16 bits, rounded: half the memory and half the
        time to read them, which is all that counts for few images. Other factors may be rounded so, too, and multiplied
        by tensor cores; sums, activations and diffs stay in single precision. Beyond 65504 numbers become infinite
bf16    likewise, with 7 bits of mantissa in place of 10, and a float's range

All but fp32 need a GPU of compute capability 8.0 or newer. The CPU computes in fp32, whatever is asked for, and scripts
see weights in single precision, as they wrote them.
"""

from typing import Literal, cast, get_args

from caffepy import device
from caffepy.blob import Arrays, Weights
from caffepy.blob.halves import Format
from caffepy.errors import ArgumentError, DeviceError

Precision = Literal["fp32", "tf32", "3xtf32", "fp16", "bf16"]

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


def halves() -> Format | None:
    """What weights lie in on the running device, if not in single precision."""
    asked = current()
    if isinstance(device.current(), device.Cpu) or not (asked == "fp16" or asked == "bf16"):
        return None
    return asked


def weights(arrays: Arrays) -> Weights:
    """The values as a product's weights, on the running device, for reading."""
    number_format = halves()
    given: Weights = arrays.data if number_format is None else arrays.halves(number_format)
    return given


def set_precision(name: str) -> None:
    """Compute every following product on a GPU in "fp32", as at first, or in "tf32", "3xtf32", "fp16" or "bf16".

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
