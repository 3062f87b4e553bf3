"""What Python 2 has within expressions: lists where views are now, tuples as parameters."""

import re

from caffepy.cli.python2.words import Note, Word, Words

_LISTS = {"map", "filter", "zip", "range"}
_VIEWS = {"keys", "values", "items"}
_TAKE_ANY = {
    *("list", "tuple", "set", "frozenset", "dict", "sorted", "sum", "min", "max", "any", "all", "enumerate", "iter"),
    *("join", "extend", "update", "OrderedDict", *_LISTS),
}
"""Functions whose argument may be any iterable."""


def convert_lists(words: Words, note: Note, *, old: bool) -> None:
    """Wrap what was a list in list() where it is indexed, and in an `old` script wherever more is asked than iterating.

    `iterator.next()` becomes next(iterator).
    """
    i = len(words) - 1
    while i >= 0:
        word = words[i]
        if word.kind == "name" and words.is_at(i + 1, "(") and not words.is_at(words.previous(i), "def", "class"):
            attribute, empty = words.is_at(i - 1, "."), words.is_at(i + 2, ")")
            if attribute and empty and word.text == "next" and words.is_at(i - 2, ")"):
                first = words.primary(i)
                del words[i - 1 : i + 3]
                _wrap(words, first, i - 2, "next", "(", "iter", "(")
                note(word.line, "next()")
                i += 4
            elif (attribute and empty and word.text in _VIEWS) or (not attribute and word.text in _LISTS):
                first, last = words.primary(i) if attribute else i, words.closing(i + 1)
                if _is_list(words, first, last, old=old and not word.lazy, view=attribute):
                    _wrap(words, first, last, "list", "(")
                    note(word.line, "a list")
                    i += 2
        i -= 1


def _wrap(words: Words, first: int, last: int, *called: str) -> None:
    line = words[first].line
    words[last + 1 : last + 1] = [Word("op", ")", line) for text in called if text == "("]
    words[first:first] = [Word("op" if text == "(" else "name", text, line) for text in called]


def _is_list(words: Words, first: int, last: int, *, old: bool, view: bool) -> bool:
    """Whether words[first : last + 1] have to be a list."""
    if words.is_at(first, "range") and not old:
        return False
    if words.is_at(last + 1, "[") or (old and (words.is_at(last + 1, ".") or words.is_at(words.next(last), "+"))):
        return True
    before = words.previous(first)
    if not old or before is None or words[before].kind == "newline" or words.is_at(before, "in", "*", ";", ":"):
        return False
    if words.is_at(before, ","):
        before = next((i for i in range(before, -1, -1) if words[i].text == "(" and words.closing(i) > first), None)
        return not (before and words[before - 1].text in _LISTS)
    taken = words.is_at(before, "(") and before and words[before - 1].text in _TAKE_ANY | ({"len"} if view else set())
    return not taken


def convert_tuple_parameters(words: Words, note: Note) -> None:
    """`lambda (a, b): a` and `def f((a, b)):` with one parameter, which is unpacked."""
    i = len(words) - 1
    while i >= 0:
        if words[i].kind == "name" and words[i].text in ("lambda", "def"):
            line = words[i].line
            if (_lambda if words[i].text == "lambda" else _def)(words, i):
                note(line, "a tuple as a parameter")
                i = len(words)  # there may be tuples within
        i -= 1


def _lambda(words: Words, at: int) -> bool:
    colon = next((i for i in words.outside(at, len(words)) if words[i].text == ":"), at + 1)
    parts = [words.text(*part).strip() for part in words.parts(at + 1, colon)]
    if not any(part.startswith("(") for part in parts):
        return False
    end = words.end_of_expression(colon)
    body = words.text(colon + 1, end).strip()
    for part in parts:
        if part.startswith("("):
            body = f"(lambda {_inside(part)}: {body})(*{_name_for(part)})"
    words.put(at, end, f"lambda {', '.join(map(_name_for, parts))}: {body}")
    return True


def _def(words: Words, at: int) -> bool:
    opening = next((i for i in range(at, len(words)) if words[i].text == "("), len(words) - 1)
    closing = words.closing(opening)
    colon = words.next(closing)
    body = None if colon is None else words.next(colon)
    parts = [words.text(*part).strip() for part in words.parts(opening + 1, closing)] if closing > opening + 1 else []
    tuples = [part for part in parts if part.startswith("(")]
    if not tuples or colon is None or body is None or not words.is_at(colon, ":"):
        return False
    apart = "\n" + words[body - 1].text if words[body - 2].kind == "newline" else "; "
    unpacked = "".join(f"{part} = {_name_for(part)}{apart}" for part in tuples)
    words.put(body, body + 1, unpacked + words[body].text)
    words.put(opening + 1, closing, ", ".join(map(_name_for, parts)))
    return True


def _name_for(part: str) -> str:
    """`a_b` for the parameter `(a, b)`; any other's own text."""
    return "_".join(re.findall(r"\w+", part)) if part.startswith("(") else part


def _inside(part: str) -> str:
    return part[1:-1].strip().removesuffix(",")


def convert_divisions(words: Words, note: Note) -> list[int]:
    """`//` where whole numbers are divided for certain; the lines of what else is divided."""
    left = []
    for i, word in enumerate(words):
        if word.text != "/":
            continue
        before, behind = words.previous(i), words.next(i)
        if before is not None and behind is not None and _whole_before(words, before) and _whole_behind(words, behind):
            word.text = "//"
            note(word.line, "/ of whole numbers")
        elif word.line not in left:
            left.append(word.line)
    return left


def _whole_before(words: Words, last: int) -> bool:
    first = words.primary(last)
    return _is_whole(words.text(first, last + 1)) and not words.is_at(words.previous(first), *"*/%@", "**", "//")


def _whole_behind(words: Words, first: int) -> bool:
    last = first
    while words.is_at(last + 1, ".", "(", "["):
        last = last + 2 if words.is_at(last + 1, ".") else words.closing(last + 1)
    return _is_whole(words.text(first, last + 1)) and not words.is_at(words.next(last), "**")


def _is_whole(expression: str) -> bool:
    """A whole number as such, a length, or an extent of a shape."""
    return bool(re.fullmatch(r"\d+|len\(.*\)|[\w.\[\]]+\.shape\[-?\w+\]", expression))
