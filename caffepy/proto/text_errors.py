"""What is wrong with a prototxt, where, and what to do about it."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.text_format import ParseError

from caffepy.errors import ProtoError, UnknownFieldError, visible

_UNKNOWN = re.compile(r'Message type "([\w.]+)" has no field named "(\w+)"')
_ENUM = re.compile(r'Enum type "([\w.]+)" has no value (?:named|with number) (\S+?)\.$')
_TWICE = re.compile(r'Message type "([\w.]+)" should not have multiple "(\w+)" fields')
_NO_STRING = re.compile(r"Expected string but found: '(.*)'")
_PLACE = re.compile(r"^\d+:\d+ : ('.*': )?", re.DOTALL)
_TOKEN = re.compile(r"""\#[^\n]* | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | [A-Za-z_]\w* | [{}<>]""", re.VERBOSE)
_WIDEST = 100  # characters of a line that are shown
_FEW = 5  # enum values that are listed rather than guessed at


class Block(NamedTuple):
    """A `name {` in the text, at an offset."""

    name: str
    at: int

    def shown(self, text: "Text") -> str:
        """How errors call it."""
        return f"`{self.name} {{` of line {text.line(self.at)}"


class Text:
    """A text and what errors call it."""

    def __init__(self, body: str, source: str):
        self.body, self.source = body, source
        self._starts = [0, *(match.end() for match in re.finditer("\n", body))]

    def line(self, at: int) -> int:
        """The line an offset is on, from 1."""
        return bisect_right(self._starts, at)

    def offset(self, line: int, column: int) -> int:
        """The offset of a line and column, both from 1."""
        return min(self._starts[min(line, len(self._starts)) - 1] + column - 1, len(self.body))

    def show(self, at: int, what: str) -> str:
        """source:line:column: what, then the line with a mark under the place; see errors.visible."""
        number = self.line(at)
        start, after = self._starts[number - 1], [*self._starts[number : number + 1], len(self.body) + 1][0]
        column = at - start
        cut = max(0, column - _WIDEST // 2) if after - 1 - start > _WIDEST else 0
        shown = self.body[start + cut : min(start + cut + _WIDEST, after - 1)]
        shown = "\t".join(map(visible, shown.split("\t")))
        mark = re.sub(r"[^\t]", " ", shown[: column - cut]) + "^"
        return f"{self.source}:{number}:{column + 1}: {what}\n    {shown}\n    {mark}"


def explain(error: ParseError, body: str, source: str, root: Descriptor) -> ProtoError:
    """The error to raise for what text_format said of a text that should describe a `root` message."""
    text = Text(body, source)
    reason = _PLACE.sub("", str(error))
    at = text.offset(error.GetLine() or 1, error.GetColumn() or 1)
    blocks = _open_blocks(body[:at])
    if unknown := _UNKNOWN.search(reason):
        return _unclosed(text, at, blocks, unknown[2], root) or unknown_field(text, at, blocks, unknown[2], root)
    if body[at : at + 1] in ("}", ">") and not blocks:
        return ProtoError(text.show(at, f"{body[at]!r} closes nothing; remove it, or open its block before"))
    left_open = _open_blocks(body)
    if left_open and reason.startswith(('Expected "}"', 'Expected ">"')):
        *outer, last = left_open
        around = f", nor is {', '.join(block.shown(text) for block in reversed(outer[-3:]))} around it" if outer else ""
        return ProtoError(text.show(last.at, f"the block `{last.name} {{` is never closed{around}; add '}}'"))
    if wrong := _ENUM.search(reason):
        reason = _wrong_value(root.file.pool.FindEnumTypeByName(wrong[1]), wrong[2])
    elif twice := _TWICE.search(reason):
        reason = _twice(twice[1], twice[2])
    elif no_string := _NO_STRING.search(reason):
        reason = f"expected a string in quotes, found {no_string[1] or 'the end of the text'}"
    else:
        reason = reason[:1].lower() + reason[1:].rstrip(".")
    if blocks and left_open:
        reason += f"; or does {blocks[-1].shown(text)} lack its '}}'?"
    return ProtoError(text.show(at, reason))


def unknown_value(text: Text, at: int, enum: EnumDescriptor, value: str) -> ProtoError:
    """The error for a value that its enum does not have."""
    return ProtoError(text.show(at, _wrong_value(enum, value)))


def given_twice(text: Text, at: int, message: Descriptor, name: str) -> ProtoError:
    """The error for a second value of a field that has one."""
    return ProtoError(text.show(at, _twice(message.full_name, name)))


def unknown_field(text: Text, at: int, blocks: Sequence[Block], name: str, root: Descriptor) -> UnknownFieldError:
    """The error for a field that its message, the innermost of the open `blocks`, does not have."""
    *outer, here = _messages(blocks, root)
    around = [message.name for message in outer if name in message.fields_by_name]
    what = f"{here.name} has no field {name!r}"
    stems = {known.removesuffix("_param"): known for known in here.fields_by_name}
    near = get_close_matches(name.lower().removesuffix("_param"), stems, 1, 0.7)
    inside = [f.name for f in here.fields if f.message_type and name in f.message_type.fields_by_name]
    if around:
        what += f", {around[-1]} has; is it in the wrong block?"
    elif near:
        what += f"; did you mean {stems[near[0]]!r}? if not, the file may be made for a fork of Caffe"
    elif inside:
        what += f"; {', '.join(inside[:4])} {'has' if len(inside) == 1 else 'have'}"
    else:
        what += ", nor one of a similar name; the file may be made for a fork of Caffe"
    return UnknownFieldError(text.show(at, what))


def _unclosed(text: Text, at: int, blocks: Sequence[Block], name: str, root: Descriptor) -> ProtoError | None:
    """The error for a field that a message around has, where a block before it is never closed."""
    *outer, here = _messages(blocks, root)
    around = [depth for depth, message in enumerate(outer) if name in message.fields_by_name]
    if not around or not _open_blocks(text.body):
        return None
    block, owner = blocks[around[-1]], outer[around[-1]].name
    why = f"the block `{block.name} {{` is not closed before line {text.line(at)}: {here.name} has no field {name!r}, "
    return ProtoError(text.show(block.at, f"{why}{owner} has; add '}}'"))


def _messages(blocks: Sequence[Block], root: Descriptor) -> list[Any]:
    """The messages that blocks inside one another describe, from the root."""
    types: list[Any] = [root]
    for block in blocks:
        types.append(types[-1].fields_by_name[block.name].message_type)
    return types


def _twice(message: str, name: str) -> str:
    return f"{name!r} is given a second time in {_short(message)}, which takes one; remove one of them"


def _wrong_value(enum: EnumDescriptor, value: str) -> str:
    names = [allowed.name for allowed in enum.values]
    near = get_close_matches(value.strip("\"'").upper(), names, 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near and len(names) > _FEW else f"it has {', '.join(names)}"
    return f"{_short(enum.full_name)} has no value {value}; {hint}"


def _open_blocks(text: str) -> list[Block]:
    """The blocks that are open where the text ends, outermost first."""
    blocks: list[Block] = []
    name = ""
    for token in _TOKEN.finditer(text):
        if token[0] in "{<":
            blocks.append(Block(name, token.start()))
        elif token[0] in "}>":
            name = blocks.pop().name if blocks else ""  # so that [{...}, {...}] are two blocks of one name
        elif token[0][0] not in "#\"'":
            name = token[0]
    return blocks


def _short(full_name: str) -> str:
    return full_name.removeprefix("caffe.")
