"""Settings of a net's text that the schema does not have: taken out of it, and kept where they stood."""

import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from caffepy.proto.caffe_pb2 import NetParameter, UnreadSetting
from caffepy.proto.settings import changes_nothing
from caffepy.proto.text_errors import Block, Text, given_twice, unknown_field, unknown_value

_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*) | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | [-+]?[\w.][\w.+-]* | [{}<>\[\]:;,]""",
    re.VERBOSE,
)
_NAME = re.compile(r"[A-Za-z_]\w*$")
_EXPLAINED = 100
"""Settings of a text for which similar names are looked for."""
_OPENS = {"{": "}", "<": ">"}


class Unread(NamedTuple):
    """A setting that the schema does not have, from its name to the end of its value."""

    start: int
    end: int
    layer: tuple[str, int] | None
    """`layer` or `layers`, and which of them; None for a setting of the net's own."""
    setting: UnreadSetting


class _BrokenError(Exception):
    """The text is not what protobuf writes; its parser says why."""


def find(body: str, source: str) -> list[Unread]:
    """What of a net's text the schema does not have; nothing where the text cannot be read at all."""
    try:
        return _Reader(Text(body, source)).read()
    except (_BrokenError, RecursionError):
        return []


def without(body: str, found: Sequence[Unread]) -> str:
    """The text with blanks in their places, every other character on its line and column."""
    parts, at = [], 0
    for unread in found:
        parts += [body[at : unread.start], re.sub(r"[^\n]", " ", body[unread.start : unread.end])]
        at = unread.end
    return "".join([*parts, body[at:]])


def keep(net: NetParameter, found: Sequence[Unread]) -> None:
    """Put them into the net that the rest of the text describes."""
    for unread in found:
        kind, index = unread.layer or ("", 0)
        owner = getattr(net, kind)[index] if kind else net
        owner.unread.append(unread.setting)


class _Reader:
    """Reads a text along a schema."""

    def __init__(self, text: Text):
        self.text, self.root = text, cast(Descriptor, NetParameter.DESCRIPTOR)
        self.tokens = [match for match in _TOKEN.finditer(text.body) if not match["comment"]]
        self.at = 0
        self.found: list[Unread] = []
        self.blocks: list[Block] = []
        self.layers = {"layer": -1, "layers": -1}
        self.layer: tuple[str, int] | None = None

    def read(self) -> list[Unread]:
        self._message(self.root, "")
        if self.at < len(self.tokens):
            raise _BrokenError
        return self.found

    def _peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise _BrokenError
        self.at += 1
        return token

    def _message(self, message: Descriptor | None, closing: str) -> None:
        """Fields up to `closing`, which stays; message is None inside what the schema does not have."""
        seen: set[str] = set()
        while (token := self._peek()) != closing:
            if not _NAME.match(token):
                raise _BrokenError
            self._field(message, seen)
            seen.add(token)

    def _field(self, message: Descriptor | None, seen: set[str]) -> None:
        start = self.tokens[self.at]
        name = self._next()
        field = message.fields_by_name.get(name) if message else None
        if self._peek() == ":":
            self._next()
        elif self._peek() not in _OPENS:
            raise _BrokenError
        first, known = self.at, len(self.found)
        self._value(field, name)
        end = self.tokens[self.at - 1].end()
        if self._peek() in (";", ","):
            self._next()
        unread = message and self._is_unread(name, field, first, seen)
        if message and (unread or (len(self.found) > known and changes_nothing(message.name, name))):
            del self.found[known:]
            value = self.text.body[self.tokens[first].start() : end]
            self._put_aside(start.start(), end, message, UnreadSetting(owner=message.name, name=name, value=value))

    def _value(self, field: FieldDescriptor | None, name: str) -> None:
        token = self._next()
        if token == "[":
            while self._peek() != "]":
                self._value(field, name)
                if self._peek() == ",":
                    self._next()
            self._next()
        elif token in _OPENS:
            self._block(field.message_type if field else None, name, _OPENS[token])
        elif token in "}>]:;,":
            raise _BrokenError
        elif token[0] in "\"'":
            while self._peek()[:1] in ('"', "'") and self._peek():
                self._next()

    def _block(self, message: Descriptor | None, name: str, closing: str) -> None:
        outermost = not self.blocks
        self.blocks.append(Block(name, self.tokens[self.at - 1].start()))
        if outermost and name in self.layers:
            self.layers[name] += 1
            self.layer = name, self.layers[name]
        self._message(message, closing)
        self._next()
        self.blocks.pop()
        if outermost:
            self.layer = None

    def _is_unread(self, name: str, field: FieldDescriptor | None, first: int, seen: set[str]) -> bool:
        """Whether the schema lacks the field, or its value, or has one value only and an earlier one was seen."""
        if field is None or (name in seen and field.default_value != []):  # what a repeated field has there
            return True
        token, enum = self.tokens[first][0], field.enum_type
        if enum is None or token == "[":
            return False
        return token not in (enum.values_by_name if _NAME.match(token) else [*map(str, enum.values_by_number)])

    def _put_aside(self, start: int, end: int, message: Descriptor, setting: UnreadSetting) -> None:
        field = message.fields_by_name.get(setting.name)
        if changes_nothing(message.name, setting.name):
            pass
        elif len(self.found) >= _EXPLAINED:
            setting.error = self.text.show(start, f"{message.name} does not know {setting.name!r}, or not like this")
        elif field is None:
            setting.error = str(unknown_field(self.text, start, self.blocks, setting.name, self.root))
        elif field.enum_type and setting.value not in field.enum_type.values_by_name:
            setting.error = str(unknown_value(self.text, start, field.enum_type, setting.value))
        else:
            setting.error = str(given_twice(self.text, start, message, setting.name))
        self.found.append(Unread(start, end, self.layer, setting))
