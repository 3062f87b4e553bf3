"""Python 2 made Python 3, as far as that is mechanical: what scripts written for old Caffe need.

A script is cut into words, statements are found, and those that Python 3 spells otherwise are spelled so; everything
else, comments and spaces included, stays as it is.
"""

import re
from dataclasses import dataclass, field

_WORD = re.compile(
    r"""
      (?P<string> (?i:[ubr]{0,2}) (?: \"{3}(?s:\\.|.)*?\"{3} | '{3}(?s:\\.|.)*?'{3}
                                    | "(?:\\(?s:.)|[^"\\\n])*" | '(?:\\(?s:.)|[^'\\\n])*' ) )
    | (?P<comment> \#[^\n]* )
    | (?P<name> [^\W\d]\w* )
    | (?P<number> 0[xX][0-9a-fA-F]+[lL]? | (?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[jJlL]? )
    | (?P<newline> \n )
    | (?P<space> (?:[^\S\n]|\\\r?\n)+ )
    | (?P<op> <> | >> | // | \*\* | [<>=!]= | [^\w\s] )
    """,
    re.VERBOSE,
)
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
}
_URLLIB = {
    **dict.fromkeys(("urlopen", "urlretrieve", "URLopener", "FancyURLopener"), "request"),
    **dict.fromkeys(("quote", "quote_plus", "unquote", "unquote_plus", "urlencode"), "parse"),
}
GONE = {*_NAMES, *_METHODS, *_MODULES, "reduce", "execfile", "reload", "cmp", "apply", "file"}
"""Names that a Python 2 script may ask for when it runs."""
_HEADERS = {"if", "elif", "else", "for", "while", "try", "except", "finally", "with", "def", "class"}
_PREFIXED = re.compile(r"(?i)u(?=r)")


@dataclass
class _Word:
    kind: str
    text: str
    line: int


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
        self.words = _words(self._without_tabs(text))
        imported = {"print_function", "division"} & {word.text for word in self.words if word.kind == "name"}
        self.prints, self.divides = "print_function" not in imported, "division" not in imported

    def run(self) -> tuple[str, dict[int, list[str]], list[int]]:
        divisions = sorted({word.line for word in self.words if word.text == "/"}) if self.divides else []
        for first, last in reversed(_statements(self.words)):
            self._statement(first, last)
        for i, word in enumerate(self.words):
            self._word(i, word)
        self._backticks()
        changes = {line: self.changes[line] for line in sorted(self.changes)}
        return "".join(word.text for word in self.words), changes, divisions

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

    def _print(self, first: int, last: int) -> None:
        at = self._next(first, last)
        is_call = at is not None and self.words[at].text == "(" and self._closing(at) == last - 1
        if is_call or (at is not None and self.words[at].text in ("=", ".", ",")):
            return
        self._note(self.words[first].line, "print statement")
        arguments = [] if at is None else [self._text(*part).strip() for part in self._parts(at, last)]
        if at is not None and self.words[at].text == ">>":
            target = arguments.pop(0).removeprefix(">>").strip()
            arguments.append(f"file={target}")
        if self.words[last - 1].text == ",":
            arguments.append("end=' '")
        self._put(first, last, f"print({', '.join(arguments)})")

    def _exec(self, first: int, last: int) -> None:
        at = self._next(first, last)
        if at is None or self.words[at].text in ("(", "=", "."):
            return
        places = [i for i in self._names(at, last) if self.words[i].text == "in"]
        if places:
            inside = f"{self._text(at, places[0]).strip()}, {self._text(places[0] + 1, last).strip()}"
        else:
            inside = self._text(at, last).strip()
        self._put(first, last, f"exec({inside})")
        self._note(self.words[first].line, "exec statement")

    def _raise(self, first: int, last: int) -> None:
        parts = [self._text(*part).strip() for part in self._parts(first + 1, last)]
        if len(parts) < 2:
            return
        trace = f".with_traceback({parts[2]})" if len(parts) > 2 else ""
        self._put(first, last, f"raise {parts[0]}({parts[1]}){trace}")
        self._note(self.words[first].line, "raise X, value")

    def _except(self, first: int, last: int) -> None:
        commas = self._commas(first + 1, last)
        if len(commas) == 1 and not any(self.words[i].text == "as" for i in self._names(first, last)):
            self.words[commas[0]].text = " as"
            self._note(self.words[first].line, "except X, e")

    def _import(self, first: int, last: int) -> None:
        """`import cPickle` binds that name still, `from cPickle import load` names the module."""
        names = self._names(first + 1, last)
        if self.words[first].text == "from":
            names = names[:1]
        for i in names:
            word, after = self.words[i], self._next(i, last)
            before = self._previous(i)
            if before is not None and self.words[before].text in ("as", "."):
                continue
            bound = after is not None and self.words[after].text == "as"
            if word.text in _MODULES:
                self._note(word.line, word.text)
                alias = "" if bound or self.words[first].text == "from" else f" as {word.text}"
                word.text = _MODULES[word.text] + alias
            elif word.text == "urllib" and self.words[first].text == "import" and not bound and not self._dotted(i):
                self._note(word.line, "urllib")
                word.text = "urllib.request, urllib.parse"

    # ---- single words

    def _word(self, i: int, word: _Word) -> None:
        if word.kind == "name":
            self._name(i, word)
        elif word.kind == "number":
            self._number(word)
        elif word.text == "<>":
            self._replace(word, "!=")
        elif word.kind == "string" and _PREFIXED.match(word.text):
            self._replace(word, _PREFIXED.sub("", word.text, count=1))

    def _name(self, i: int, word: _Word) -> None:
        before, after = self._previous(i), self._next(i, len(self.words))
        follows = self.words[after].text if after is not None else ""
        attribute = before is not None and self.words[before].text == "."
        if attribute and word.text in _METHODS and follows == "(":
            self._replace(word, _METHODS[word.text])
        elif attribute and word.text in _URLLIB and self._of_urllib(before):
            self._note(word.line, f"urllib.{word.text}")
            word.text = f"{_URLLIB[word.text]}.{word.text}"
        elif not attribute and word.text in _NAMES and follows != "=":
            self._replace(word, _NAMES[word.text])

    def _of_urllib(self, dot: int | None) -> bool:
        owner = self._previous(dot) if dot is not None else None
        return owner is not None and self.words[owner].text == "urllib"

    def _number(self, word: _Word) -> None:
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

    def _replace(self, word: _Word, text: str) -> None:
        self._note(word.line, word.text)
        word.text = text

    # ---- looking around

    def _put(self, first: int, last: int, text: str) -> None:
        """That text instead of the words; it is cut into words again, so that names in it are seen."""
        line = self.words[first].line
        self.words[first:last] = _words(text, line)

    def _text(self, first: int, last: int) -> str:
        return "".join(word.text for word in self.words[first:last])

    def _next(self, i: int, last: int) -> int | None:
        return next((j for j in range(i + 1, last) if self.words[j].kind not in ("space", "comment", "newline")), None)

    def _previous(self, i: int) -> int | None:
        return next((j for j in range(i - 1, -1, -1) if self.words[j].kind != "space"), None)

    def _dotted(self, i: int) -> bool:
        return i + 1 < len(self.words) and self.words[i + 1].text == "."

    def _commas(self, first: int, last: int) -> list[int]:
        return [i for i in _outside(self.words, first, last) if self.words[i].text == ","]

    def _parts(self, first: int, last: int) -> list[tuple[int, int]]:
        """What commas part, without what is empty behind the last."""
        commas = self._commas(first, last)
        parts = list(zip((first, *(comma + 1 for comma in commas)), (*commas, last), strict=True))
        return parts if self._text(*parts[-1]).strip() else parts[:-1]

    def _names(self, first: int, last: int) -> list[int]:
        return [i for i in _outside(self.words, first, last) if self.words[i].kind == "name"]

    def _closing(self, opening: int) -> int:
        depth = 0
        for i in range(opening, len(self.words)):
            depth += _step(self.words[i])
            if not depth:
                return i
        return len(self.words)


def _words(text: str, line: int = 1) -> list[_Word]:
    words = []
    for match in _WORD.finditer(text):
        words.append(_Word(str(match.lastgroup), match[0], line))
        line += match[0].count("\n")
    return words


def _step(word: _Word) -> int:
    return 0 if word.kind != "op" else (word.text in "([{") - (word.text in ")]}")


def _outside(words: list[_Word], first: int, last: int) -> list[int]:
    """Which of words[first:last] are in no brackets opened there."""
    depth, found = 0, []
    for i in range(first, last):
        depth += _step(words[i])
        if not depth:
            found.append(i)
    return found


def _statements(words: list[_Word]) -> list[tuple[int, int]]:
    """Ranges of words, without the space, comment and separator behind; after `if x:` another one begins."""
    found: list[tuple[int, int]] = []
    first: int | None = None
    depth, lambdas, header = 0, 0, False
    for i, word in enumerate([*words, _Word("newline", "\n", 0)]):
        depth = max(0, depth + _step(word))
        if first is None and word.kind not in ("space", "comment", "newline") and word.text != ";":
            first, header, lambdas = i, word.text in _HEADERS, 0
        lambdas += word.text == "lambda"
        colon = word.text == ":" and not depth and header
        if colon and lambdas:
            lambdas, colon = lambdas - 1, False
        if first is not None and not depth and (word.kind == "newline" or word.text == ";" or colon):
            last = i
            while last > first and words[last - 1].kind in ("space", "comment"):
                last -= 1
            found.append((first, last))
            first = None
    return found
