"""Which operations oneDNN computes, and what translates them."""

from collections.abc import Callable

from caffepy.cpu.build import Builder
from caffepy.cpu.record import Operation

Translation = Callable[[Builder, Operation], None]
"""Adds the calls that do the operation, `builder.at` being the next one's number; raises DeclinedError or DeviceError
before it wrote anything where oneDNN cannot."""

TRANSLATIONS: dict[str, Translation] = {}


def translates(*names: str) -> Callable[[Translation], Translation]:
    """Enter a translation of the operations of these names."""

    def enter(translation: Translation) -> Translation:
        TRANSLATIONS.update(dict.fromkeys(names, translation))
        return translation

    return enter
