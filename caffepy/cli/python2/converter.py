"""Python 2 made Python 3, as far as that is mechanical: what scripts written for old Caffe need.

A script is cut into words, statements are found, and those that Python 3 spells otherwise are spelled so; everything
else, comments and spaces included, stays as it is.
"""

import re
from dataclasses import dataclass, field

from caffepy.cli.python2 import library
from caffepy.cli.python2.binary import convert_binary
from caffepy.cli.python2.buffers import MODULES, Buffers
from caffepy.cli.python2.expressions import convert_divisions, convert_lists, convert_tuple_parameters
from caffepy.cli.python2.words import Word, Words, statements

_NAMES = {
    "xrange": "range",
    "raw_input": "input",
    "unicode": "str",
    "basestring": "str",
    "long": "int",
    "unichr": "chr",
}
_METHODS = {
    "iteritems": "items",
    "itervalues": "values",
    "iterkeys": "keys",
    "has_key": "__contains__",
}
_MODULES = {
    "cPickle": "pickle",
    "StringIO": "io",
    "cStringIO": "io",
    "urllib2": "urllib.request",
    "ConfigParser": "configparser",
    "Queue": "queue",
    "Tkinter": "tkinter",
    "__builtin__": "builtins",
    "commands": "subprocess",
    "HTMLParser": "html.parser",
    "urlparse": "urllib.parse",
    "copy_reg": "copyreg",
}
_URLLIB = {
    **dict.fromkeys(("urlopen", "urlretrieve", "URLopener", "FancyURLopener"), "request"),
    **dict.fromkeys(("quote", "quote_plus", "unquote", "unquote_plus", "urlencode"), "parse"),
}
GONE = {*_NAMES, *_METHODS, *_MODULES, *library.GONE}
"""Names that an old script may ask for when it runs."""
_PREFIXED = re.compile(r"(?i)u(?=r)")


@dataclass(frozen=True)
class Converted:
    """A script in Python 3's spelling."""

    text: str
    changes: dict[int, list[str]] = field(default_factory=dict)
    """By line: what was changed. Empty where nothing was."""
    divisions: list[int] = field(default_factory=list)
    """Lines that divide by `/`, which left whole numbers whole in Python 2; they stay as they are."""


def convert(text: str) -> Converted:
    """The script in Python 3's spelling, what was changed, and what is left to be looked at."""
    converter = _Converter(text)
    return Converted(*converter.run())


class _Converter:
    def __init__(self, text: str) -> None:
        self.changes: dict[int, list[str]] = {}
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.words = Words.of(self._without_tabs(text))
        imported = {"print_function", "division"} & {word.text for word in self.words if word.kind == "name"}
        self.prints, self.divides = "print_function" not in imported, "division" not in imported

    def run(self) -> tuple[str, dict[int, list[str]], list[int]]:
        self.buffers = Buffers(self.words, self._note)
        for first, last in reversed(statements(self.words)):
            self._statement(first, last)
        for i, word in enumerate(self.words):
            self._word(i, word)
        self._backticks()
        library.convert_library(self.words, self._note)
        if self.changes:
            convert_binary(self.words, self._note)
        convert_tuple_parameters(self.words, self._note)
        divisions = self._divisions() if self.divides else []
        convert_lists(self.words, self._note, old=bool(self.changes))
        changes = {line: self.changes[line] for line in sorted(self.changes)}
        return "".join(word.text for word in self.words), changes, divisions

    def _divisions(self) -> list[int]:
        if self.changes:
            return convert_divisions(self.words, self._note)
        return sorted({word.line for word in self.words if word.text == "/"})

    def _without_tabs(self, text: str) -> str:
        """Indentation of both tabs and spaces, which Python 2 took a tab for 8 columns in."""
        indents = re.findall(r"(?m)^[ \t]+(?=\S)", text)
        if not (any("\t" in indent for indent in indents) and any(" " in indent for indent in indents)):
            return text
        self._note(1, "tabs in the indentation")
        return re.sub(r"(?m)^[ \t]+", lambda match: match[0].expandtabs(8), text)

    def _note(self, line: int, what: str) -> None:
        notes = self.changes.setdefault(line, [])
        if what not in notes:
            notes.append(what)

    # ---- statements, words[first:last]

    def _statement(self, first: int, last: int) -> None:
        head = self.words[first]
        if head.kind != "name":
            return
        if head.text == "print" and self.prints:
            self._print(first, last)
        elif head.text == "exec":
            self._exec(first, last)
        elif head.text == "raise":
            self._raise(first, last)
        elif head.text == "except":
            self._except(first, last)
        elif head.text in ("import", "from"):
            self._import(first, last)
        if head.text in ("from", "reload", "sys"):
            library.convert_statement(self.words, first, last, self._note)

    def _print(self, first: int, last: int) -> None:
        at = self.words.next(first, last)
        is_call = at is not None and self.words[at].text == "(" and self.words.closing(at) == last - 1
        if is_call or (at is not None and self.words[at].text in ("=", ".", ",")):
            return
        self._note(self.words[first].line, "print statement")
        arguments = [] if at is None else [self.words.text(*part).strip() for part in self.words.parts(at, last)]
        if at is not None and self.words[at].text == ">>":
            target = arguments.pop(0).removeprefix(">>").strip()
            arguments.append(f"file={target}")
        if self.words[last - 1].text == ",":
            arguments.append("end=' '")
        self.words.put(first, last, f"print({', '.join(arguments)})")

    def _exec(self, first: int, last: int) -> None:
        at = self.words.next(first, last)
        if at is None or self.words[at].text in ("(", "=", "."):
            return
        places = [i for i in self.words.names(at, last) if self.words[i].text == "in"]
        if places:
            inside = f"{self.words.text(at, places[0]).strip()}, {self.words.text(places[0] + 1, last).strip()}"
        else:
            inside = self.words.text(at, last).strip()
        self.words.put(first, last, f"exec({inside})")
        self._note(self.words[first].line, "exec statement")

    def _raise(self, first: int, last: int) -> None:
        parts = [self.words.text(*part).strip() for part in self.words.parts(first + 1, last)]
        if len(parts) < 2:
            return
        trace = f".with_traceback({parts[2]})" if len(parts) > 2 else ""
        self.words.put(first, last, f"raise {parts[0]}({parts[1]}){trace}")
        self._note(self.words[first].line, "raise X, value")

    def _except(self, first: int, last: int) -> None:
        commas = self.words.commas(first + 1, last)
        if len(commas) == 1 and not any(self.words[i].text == "as" for i in self.words.names(first, last)):
            self.words[commas[0]].text = " as"
            self._note(self.words[first].line, "except X, e")

    def _import(self, first: int, last: int) -> None:
        """`import cPickle` binds that name still, `from cPickle import load` names the module."""
        names = self.words.names(first + 1, last)
        if self.words[first].text == "from":
            if names and self.words[names[0]].text in MODULES:
                for i in names[1:]:
                    if self.words[i].text == "StringIO" and not self.words.is_at(self.words.previous(i), "as"):
                        self.words[i].text = self.buffers.imported()
            names = names[:1]
        for i in names:
            word, after = self.words[i], self.words.next(i, last)
            before = self.words.previous(i)
            if before is not None and self.words[before].text in ("as", "."):
                continue
            bound = after is not None and self.words[after].text == "as"
            if word.text in _MODULES:
                self._note(word.line, word.text)
                alias = "" if bound or self.words[first].text == "from" else f" as {word.text}"
                word.text = _MODULES[word.text] + alias
            elif (
                word.text == "urllib"
                and self.words[first].text == "import"
                and not bound
                and not self.words.is_at(i + 1, ".")
            ):
                self._note(word.line, "urllib")
                word.text = "urllib.request, urllib.parse"

    # ---- single words

    def _word(self, i: int, word: Word) -> None:
        if word.kind == "name":
            self._name(i, word)
        elif word.kind == "number":
            self._number(word)
        elif word.text == "<>":
            self._replace(word, "!=")
        elif word.kind == "string" and _PREFIXED.match(word.text):
            self._replace(word, _PREFIXED.sub("", word.text, count=1))

    def _name(self, i: int, word: Word) -> None:
        before, after = self.words.previous(i), self.words.next(i, len(self.words))
        follows = self.words[after].text if after is not None else ""
        attribute = before is not None and self.words[before].text == "."
        if attribute and word.text in _METHODS and follows == "(":
            word.lazy = word.text.startswith("iter")
            self._replace(word, _METHODS[word.text])
        elif attribute and word.text in _URLLIB and self._of_urllib(before):
            self._note(word.line, f"urllib.{word.text}")
            word.text = f"{_URLLIB[word.text]}.{word.text}"
        elif not attribute and word.text in _NAMES and follows != "=":
            word.lazy = word.text == "xrange"
            self._replace(word, _NAMES[word.text])

    def _of_urllib(self, dot: int | None) -> bool:
        owner = self.words.previous(dot) if dot is not None else None
        return owner is not None and self.words[owner].text == "urllib"

    def _number(self, word: Word) -> None:
        text = word.text
        if text[-1] in "lL":
            text = text[:-1]
        if re.fullmatch(r"0\d*[1-9]\d*", text) and not set(text) & {"8", "9"}:
            text = f"0o{text.lstrip('0')}"
        if text != word.text:
            self._replace(word, text)

    def _backticks(self) -> None:
        ticks = [word for word in self.words if word.text == "`"]
        for opening, closing in zip(ticks[::2], ticks[1::2], strict=False):
            opening.text, closing.text = "repr(", ")"
            self._note(opening.line, "backticks")

    def _replace(self, word: Word, text: str) -> None:
        self._note(word.line, word.text)
        word.text = text
