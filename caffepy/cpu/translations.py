"""A pass's operations, translated one after the other into calls."""

from caffepy.blob.storage import SyncedArray
from caffepy.cpu import (  # noqa: F401 (each enters its translations in the table)
    batch_norm,
    batch_norm_training,
    convolution,
    elementwise,
    inner_product,
    joins,
    lrn,
    moves,
    pooling,
    scale_weights,
    softmax,
    updates,
)
from caffepy.cpu.build import Builder, DeclinedError
from caffepy.cpu.record import Recorder
from caffepy.cpu.table import TRANSLATIONS
from caffepy.errors import DeviceError


def translate(recorder: Recorder, wanted: set[SyncedArray], *, keeps: bool = True) -> Builder:
    """The calls for what was recorded; an operation that oneDNN has nothing for runs its NumPy body."""
    builder = Builder(recorder, wanted, keeps=keeps)
    while builder.at < len(builder.operations):
        at, operation = builder.at, builder.operations[builder.at]
        builder.at += 1
        translation = TRANSLATIONS.get(operation.name)
        try:
            if translation is None or not all(getattr(a, "size", 1) for a in operation.args):
                raise DeclinedError
            translation(builder, operation)
        except (DeclinedError, DeviceError):
            if translation is not None:
                builder.declined.append(operation.name)
            builder.at = at + 1
            builder.body(operation)
    return builder
