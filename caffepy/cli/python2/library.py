"""What old scripts take from libraries that spell it otherwise now: Python 2's own, NumPy's and PyYAML's."""

import re

from caffepy.cli.python2.words import Note, Words

_TYPES = ("float", "int", "bool", "object", "str", "complex")
_NUMPY = {**{name: name for name in _TYPES}, "long": "int", "unicode": "str"}
_MOVED = {
    "sys": {"maxint": "sys.maxsize"},
    "os": {"getcwdu": "os.getcwd"},
    "string": {name: f"string.ascii_{name}" for name in ("letters", "lowercase", "uppercase")},
    "itertools": {
        "izip": "zip",
        "imap": "map",
        "ifilter": "filter",
        "izip_longest": "itertools.zip_longest",
        "ifilterfalse": "itertools.filterfalse",
    },
    "np": _NUMPY,
    "numpy": _NUMPY,
}
"""By module: what its names are now."""
_IMPORTS = {"reduce": "from functools import reduce", "reload": "from importlib import reload"}
_LAZY = {"zip", "map", "filter"}
GONE = {*_IMPORTS, "execfile", "cmp", "apply", "file", "maxint", "getcwdu", *_MOVED["itertools"]}
"""Names that an old script may ask for when it runs."""
GONE_FROM_NUMPY = set(_NUMPY)
"""The same, of NumPy."""


def convert_library(words: Words, note: Note) -> None:
    """Names of modules and functions that are elsewhere now; what they need is imported."""
    text, needed = words.text(0, len(words)), set()
    defined = {name for name in GONE if _is_defined(name, text)}
    for i in range(len(words) - 1, -1, -1):
        name, dot = words[i].text, words.previous(i)
        if words[i].kind != "name":
            continue
        if words.is_at(dot, "."):
            _attribute(words, i, note)
        elif name == "cmp" and words.is_at(words.next(i), "=") and words.is_at(dot, ",", "("):
            needed.add("from functools import cmp_to_key")
            _cmp_argument(words, i, note)
        elif words.is_at(words.next(i), "(") and name not in defined and not words.is_at(dot, "def", "class"):
            if name in _IMPORTS:
                needed.add(_IMPORTS[name])
                note(words[i].line, name)
            _call(words, i, note)
    if needed:
        _import(words, sorted(needed))


def convert_statement(words: Words, first: int, last: int, note: Note) -> None:
    """`from itertools import izip` and what sets Python 2's default encoding, which are needed no more."""
    text = re.sub(r"\s+", " ", words.text(first, last))
    if re.fullmatch(r"reload ?\( ?sys ?\)|sys ?\. ?setdefaultencoding ?\(.*\)", text):
        new = "pass"
    elif match := re.fullmatch(r"from itertools import (\()?([\w, ]+)(?(1)\))", text):
        names = [name.strip() for name in match[2].split(",") if name.strip()]
        left = [kept for name in names if (kept := _from_itertools(name))]
        if left == names:
            return
        new = f"from itertools import {', '.join(left)}" if left else "pass"
    else:
        return
    note(words[first].line, text.partition("(")[0])
    words.put(first, last, new)


def _from_itertools(name: str) -> str:
    """What to import instead; nothing for what is built in now."""
    old, _, alias = name.partition(" as ")
    now = _MOVED["itertools"].get(old, old).removeprefix("itertools.")
    if now in _LAZY:
        return "" if alias in ("", now) else name
    return f"{now} as {alias}" if alias else now


def _is_defined(name: str, text: str) -> bool:
    return bool(
        re.search(rf"(?m)^\s*(def\s+{name}\b|{name}\s*=|from\s+\S+\s+import\s.*\b{name}\b)", text)
        or re.search(rf"\b(for|as)\s+{name}\b", text)
    )


def _attribute(words: Words, i: int, note: Note) -> None:
    """`module.name`, and `yaml.load` of one argument."""
    module, name = words[i - 2].text if i > 1 else "", words[i].text
    if i > 2 and words.is_at(i - 3, "."):
        return
    new = _MOVED.get(module, {}).get(name)
    if (module, name) == ("yaml", "load") and words.is_at(i + 1, "("):
        one = len(words.parts(i + 2, words.closing(i + 1))) == 1
        new = "yaml.safe_load" if one else None
    if new:
        note(words[i].line, f"{module}.{name}")
        words.put(i - 2, i + 1, new)
        words[i - 2].lazy = new in _LAZY


def _call(words: Words, i: int, note: Note) -> None:
    name, opening = words[i].text, words.next(i)
    assert opening is not None
    closing = words.closing(opening)
    inside = [words.text(*part).strip() for part in words.parts(opening + 1, closing)]
    now = _MOVED["itertools"].get(name, "").removeprefix("itertools.")
    if now:
        words.put(i, i + 1, now)
        words[i].lazy = now in _LAZY
    elif name == "file":
        words.put(i, i + 1, "open")
    elif name == "execfile" and len(inside) == 1:
        words.put(i, closing + 1, f"exec(open({inside[0]}).read())")
    elif name == "cmp" and len(inside) == 2:
        one, other = inside
        words.put(i, closing + 1, f"((({one}) > ({other})) - (({one}) < ({other})))")
    elif name == "apply" and len(inside) in (2, 3):
        stars = ", ".join(f"{'*' * count}{part}" for count, part in enumerate(inside[1:], start=1))
        words.put(i, closing + 1, f"{inside[0]}({stars})")
    else:
        return
    note(words[i].line, name)


def _cmp_argument(words: Words, i: int, note: Note) -> None:
    note(words[i].line, "cmp=")
    equals = words.next(i)
    assert equals is not None
    value = words.next(equals)
    inside = equals + 1
    if words.is_at(value, "lambda"):
        inside = next((j for j in words.outside(equals, len(words)) if words[j].text == ":"), inside)
    end = words.end_of_expression(inside)
    words.put(i, end, f"key=cmp_to_key({words.text(equals + 1, end).strip()})")


def _import(words: Words, lines: list[str]) -> None:
    """The lines, before the first import of the script, or before the first statement where there is none."""
    starts = [i for i, word in enumerate(words) if word.kind == "name" and (not i or words[i - 1].kind == "newline")]
    imports = [
        i for i in starts if words[i].text in ("import", "from") and not words.is_at(words.next(i), "__future__")
    ]
    at = (imports or starts or [0])[0]
    words[at:at] = Words.of("".join(f"{line}\n" for line in lines), words[at].line)
