"""The protobuf wire format: enough to walk a file and to write one, without building its messages in memory."""

import os
from threading import Lock
from typing import BinaryIO, NamedTuple

from caffepy.errors import ProtoError, StateError

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_FIXED_SIZE = {FIXED64: 8, FIXED32: 4}
_WINDOW = 16384
_LONGEST_VARINT = 10


class Source:
    """Random access to the bytes of an open file.

    Reads, never maps: a file that shrinks under a map kills the process, here it raises. Reading is safe from several
    threads, peeking is not.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self.size = os.fstat(file.fileno()).st_size
        self._file: BinaryIO | None = file
        self._lock = Lock()
        self._window = b""
        self._window_start = 0

    def close(self) -> None:
        """Close the file; reading raises from here on."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def error(self, at: int, text: str) -> ProtoError:
        """The error to raise about what stands at byte `at`."""
        return ProtoError(f"{self.name}, byte {at}: {text}")

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill `out`, a view of bytes, with what stands from byte `start` on."""
        done = 0
        with self._lock:
            if self._file is None:
                raise StateError(f"{self.name}: the file is closed; read its blobs inside the `with open_weights(...)`")
            self._file.seek(start)
            while done < len(out):
                count = self._file.readinto(out[done:])  # type: ignore[attr-defined]
                if not count:
                    break
                done += count
        if done < len(out):
            raise self.error(
                start + done,
                f"the file ends here, {len(out) - done} bytes short, and was {self.size} bytes long when it was "
                "opened; it changed while it was read: copy or download it again",
            )

    def read(self, start: int, stop: int) -> bytearray:
        """The bytes from `start` up to `stop`."""
        out = bytearray(stop - start)
        self.read_into(start, memoryview(out))
        return out

    def peek(self, start: int, count: int) -> bytes:
        """At least `count` bytes from `start` on, or what there is."""
        offset = start - self._window_start
        if offset < 0 or offset + count > len(self._window):
            self._window = bytes(self.read(start, min(start + max(count, _WINDOW), self.size)))
            self._window_start, offset = start, 0
        return self._window[offset : offset + count]


class Field(NamedTuple):
    """One field of a message: where its tag starts, where its value starts and where it stops, in bytes."""

    number: int
    kind: int
    start: int
    value: int
    stop: int


def field_at(source: Source, at: int, end: int) -> Field:
    """The field whose tag stands at byte `at` in a message that stops at `end`."""
    head = source.peek(at, min(2 * _LONGEST_VARINT, end - at))
    key, used = _varint_at(source, head, 0, at)
    number, kind = key >> 3, key & 7
    if not 0 < number < 1 << 29:
        raise source.error(at, f"expected a field's number, found {number}; the file is damaged: download it again")
    if kind == VARINT:
        size = _varint_at(source, head, used, at)[1] - used
    elif kind == LENGTH:
        size, used = _varint_at(source, head, used, at)
    elif kind in _FIXED_SIZE:
        size = _FIXED_SIZE[kind]
    else:
        raise source.error(at, f"field {number} has wire type {kind}, which Caffe's files do not use; is this one?")
    value = at + used
    if size > end - value:
        raise source.error(
            at,
            f"field {number} needs {size} bytes and {end - value} are left; the file is cut short or damaged: "
            "download or copy it again",
        )
    return Field(number, kind, at, value, value + size)


def _varint_at(source: Source, head: bytes, index: int, at: int) -> tuple[int, int]:
    """The varint at `index` of `head`, and the index after it."""
    value = 0
    for shift, byte in enumerate(head[index : index + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, index + shift + 1
    raise source.error(at, "a number is cut off or too long; the file is cut short or damaged: download it again")


def varint(value: int) -> bytes:
    """The encoding of a number that is not negative."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def prefix(number: int, size: int) -> bytes:
    """What goes before the `size` bytes of a string, message or packed field."""
    return varint(number << 3 | LENGTH) + varint(size)
