"""A script cut into words, and looking around among them."""

import re
from collections.abc import Callable
from dataclasses import dataclass

Note = Callable[[int, str], None]
"""Takes a line and what is changed in it."""
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
_KEYWORDS = {"in", "not", "and", "or", "if", "else", "elif", "for", "while", "return", "print", "is", "yield", "assert"}
_HEADERS = {"if", "elif", "else", "for", "while", "try", "except", "finally", "with", "def", "class"}


@dataclass
class Word:
    """A string, comment, name, number, newline, space or op, as it stands in the text."""

    kind: str
    text: str
    line: int
    lazy: bool = False
    """It was one of Python 2's own iterators, such as iteritems."""


class Words(list[Word]):
    """A script's words; joined they are its text."""

    @classmethod
    def of(cls, text: str, line: int = 1) -> "Words":
        """The words of a text that begins in that line."""
        words = cls()
        for match in _WORD.finditer(text):
            words.append(Word(str(match.lastgroup), match[0], line))
            line += match[0].count("\n")
        return words

    def put(self, first: int, last: int, text: str) -> None:
        """That text instead of the words; it is cut into words again, so that names in it are seen."""
        self[first:last] = Words.of(text, self[first].line)

    def text(self, first: int, last: int) -> str:
        """The text of words[first:last]."""
        return "".join(word.text for word in self[first:last])

    def next(self, i: int, last: int | None = None) -> int | None:
        """The next word before `last` that says something."""
        end = len(self) if last is None else last
        return next((j for j in range(i + 1, end) if self[j].kind not in ("space", "comment", "newline")), None)

    def previous(self, i: int) -> int | None:
        """The word before, spaces aside."""
        return next((j for j in range(i - 1, -1, -1) if self[j].kind != "space"), None)

    def is_at(self, i: int | None, *texts: str) -> bool:
        """Whether there is such a word, and it is one of these."""
        return i is not None and 0 <= i < len(self) and self[i].text in texts

    def outside(self, first: int, last: int) -> list[int]:
        """Which of words[first:last] are in no brackets opened there."""
        depth, found = 0, []
        for i in range(first, last):
            depth += _step(self[i])
            if not depth:
                found.append(i)
        return found

    def commas(self, first: int, last: int) -> list[int]:
        """Those in no brackets."""
        return [i for i in self.outside(first, last) if self[i].text == ","]

    def names(self, first: int, last: int) -> list[int]:
        """Those in no brackets."""
        return [i for i in self.outside(first, last) if self[i].kind == "name"]

    def parts(self, first: int, last: int) -> list[tuple[int, int]]:
        """What commas part, without what is empty behind the last."""
        commas = self.commas(first, last)
        parts = list(zip((first, *(comma + 1 for comma in commas)), (*commas, last), strict=True))
        return parts if self.text(*parts[-1]).strip() else parts[:-1]

    def closing(self, opening: int) -> int:
        """The bracket that closes this one."""
        depth = 0
        for i in range(opening, len(self)):
            depth += _step(self[i])
            if not depth:
                return i
        return len(self)

    def opening(self, closing: int) -> int:
        """The bracket that this one closes."""
        depth = 0
        for i in range(closing, -1, -1):
            depth += _step(self[i])
            if not depth:
                return i
        return 0

    def primary(self, last: int) -> int:
        """Where what ends with that word begins: a name, with its attributes, calls and indices, or brackets."""
        i = last
        while True:
            if self[i].text in (")", "]", "}"):
                i = self.opening(i)
                called = i > 0 and (self[i - 1].kind in ("name", "string") or self[i - 1].text in (")", "]"))
                if called and self[i - 1].text not in _KEYWORDS:
                    i -= 1
                    continue
            if i < 2 or self[i - 1].text != ".":
                return i
            i -= 2

    def end_of_expression(self, first: int) -> int:
        """Where an expression ends that goes as far as it can: at a comma, a bracket that closes, or the line's end."""
        depth, in_brackets = 0, sum(map(_step, self[:first])) > 0
        ends = () if in_brackets else ("newline", "comment")
        for i in range(first, len(self)):
            depth += _step(self[i])
            if depth < 0 or (not depth and (self[i].kind in ends or self[i].text in (",", ";"))):
                while self[i - 1].kind == "space":
                    i -= 1
                return i
        return len(self)


def _step(word: Word) -> int:
    return 0 if word.kind != "op" else (word.text in "([{") - (word.text in ")]}")


def statements(words: Words) -> list[tuple[int, int]]:
    """Ranges of words, without the space, comment and separator behind; after `if x:` another one begins."""
    found: list[tuple[int, int]] = []
    first: int | None = None
    depth, lambdas, header = 0, 0, False
    for i, word in enumerate([*words, Word("newline", "\n", 0)]):
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
