"""Prototxt: protobuf's text format, read with errors that show the place, written whole or not at all."""

import os
import re
from typing import TypeVar, cast

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from caffepy.errors import ProtoError
from caffepy.proto import unread
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.proto.files import HEAD, PathLike, kind_of, open_binary, remedy, replacing
from caffepy.proto.text_errors import explain

M = TypeVar("M", bound=Message)

_PASTED = re.compile(  # what is right as it is, then what a web page or word processor made of quotes and spaces
    r"""
      (?P<right> \#[^\n]* | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' )
    | [\u201c-\u201f"] (?P<double> [^\u201c-\u201f"\n]* ) [\u201c-\u201f"]
    | [\u2018-\u201b'] (?P<single> [^\u2018-\u201b'\n]* ) [\u2018-\u201b']
    | (?P<unseen> [\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff] )
    """,
    re.VERBOSE,
)
_LONG_RUN = re.compile(r"(?:\\\\){64,}")
"""Pairs of backslashes that the library's regular expression would go through again from each of them."""
_NEWLINE = re.compile("\r\n?|\u2028|\u2029")


def parse(text: str, message: type[M], source: str = "<string>") -> M:
    """The message of that type which the text describes; `source` names the text in errors.

    Text pasted from the web is understood: odd spaces, curly quotes, any line ends. Raises UnknownFieldError for a
    field the schema does not have, ProtoError for everything else that is wrong.
    """
    return _parse(_clean(text), message, source)


def parse_net(text: str, source: str = "<string>") -> NetParameter:
    """As `parse`, of a net; what the schema does not have stands in `unread` of the layer, or of the net.

    It is there for `settings.settle`, which knows whether it changes anything in the net that is built.
    """
    text = _clean(text)
    try:
        return _parse(text, NetParameter, source)
    except ProtoError as error:
        found = unread.find(text, source)
        if not found:
            raise
        try:
            net = _parse(unread.without(text, found), NetParameter, source)
        except ProtoError:
            raise error from None
    unread.keep(net, found)
    return net


def _parse(text: str, message: type[M], source: str) -> M:
    parsed = message()
    try:
        text_format.Parse(text, parsed)
    except text_format.ParseError as error:
        raise explain(error, text, source, cast(Descriptor, message.DESCRIPTOR)) from error
    except RecursionError as error:
        raise ProtoError(f"{source}: blocks stand in one another, deeper than can be read") from error
    missing = parsed.FindInitializationErrors()  # type: ignore[attr-defined]
    if missing:
        raise ProtoError(f"{source}: required and not given: {', '.join(missing)}")
    return parsed


def read(path: PathLike, message: type[M]) -> M:
    """The message of that type in a prototxt file: UTF-8, or Windows and Latin-1 as old files are.

    Raises MissingFileError for a file that cannot be opened, and what `parse` raises.
    """
    return parse(_read(path), message, os.fspath(path))


def read_net(path: PathLike) -> NetParameter:
    """As `read`, of a net, with what the schema does not have as `parse_net` keeps it."""
    return parse_net(_read(path), os.fspath(path))


def _read(path: PathLike) -> str:
    name = os.fspath(path)
    with open_binary(path) as file:
        data = file.read()
    kind = kind_of(data[:HEAD])
    if kind in ("binary", "hdf5"):
        raise ProtoError(
            f"{name}: expected a prototxt and found a binary file; if it holds weights, give it as weights"
        )
    if kind != "text":
        raise ProtoError(f"{name}: expected a prototxt; {remedy(kind)}")
    text = _decode(data)
    if text.lstrip().lower().startswith(("<!doctype", "<html")):
        raise ProtoError(f"{name}: expected a prototxt and found a web page; download the raw file")
    return text


def format(message: Message) -> str:
    """The message as text."""
    return text_format.MessageToString(message, as_utf8=True)


def write(path: PathLike, message: Message) -> None:
    """Write the message as text; the file appears when it is whole.

    Raises MissingFileError if there is no such folder, ProtoError if writing fails.
    """
    with replacing(path) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        file.write(format(message))


def _decode(data: bytes) -> str:
    encodings = ("utf-16",) if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8", "cp1252")
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _clean(text: str) -> str:
    """The text with plain quotes and spaces, every character on the line and column where it was.

    But for long runs of backslashes, which stand there by their number.
    """

    def plain(match: re.Match[str]) -> str:
        if match["right"] is not None:
            return match["right"]
        if match["unseen"]:
            return " "
        inside = match["single"] if match["double"] is None else match["double"]
        quote = "'" if '"' in inside else '"'
        return f"{quote}{inside}{quote}"

    text = _LONG_RUN.sub(lambda run: r"\134" * (len(run[0]) // 2), text)
    return _PASTED.sub(plain, _NEWLINE.sub("\n", text.removeprefix("\ufeff")))
