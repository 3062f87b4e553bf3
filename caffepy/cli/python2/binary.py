"""Files and keys of bytes that Python 2 scripts treat as text: weights, pickles, keys of LMDB."""

import re

from caffepy.cli.python2.words import Note, Word, Words

_PARSERS = r"(?:ParseFromString|FromString|MergeFromString)"
_WRITTEN = r"SerializeToString\(|\.tobytes\(|\.tostring\(|[pP]ickle\.dumps\("
_MODE = re.compile(r"[rRuU]?(['\"])([rwaU+]*)\1")
_TEXT_KEY = r"['\"]|str\(|.*(?:\.format\(|zfill\()|[^(]*['\"]\s*%"


def convert_binary(words: Words, note: Note) -> None:
    """Open binary files as such, read pickles of Python 2, and encode text that is a key of LMDB."""
    text = words.text(0, len(words))
    pickles = {"pickle", *re.findall(r"\bpickle\s+as\s+(\w+)", text)}
    pickle = rf"\b(?:{'|'.join(sorted(pickles))})"
    transactions = set(re.findall(r"\.begin\([^\n]*\)\s+as\s+(\w+)", text))
    transactions |= set(re.findall(r"(\w+)\s*=\s*[\w.]+\.begin\(", text))
    for i in range(len(words) - 1, -1, -1):
        word, after = words[i], words.next(i)
        if word.kind != "name" or after is None or not words.is_at(after, "("):
            continue
        attribute = words.is_at(words.previous(i), ".")
        if word.text in ("open", "file") and not attribute:
            _open(words, i, text, pickle, note)
        elif attribute and word.text in ("load", "loads") and words[i - 2].text in pickles:
            _load(words, i, note)
        elif attribute and word.text in ("put", "get", "delete") and words[i - 2].text in transactions:
            _key(words, after, text, note)


def _open(words: Words, i: int, text: str, pickle: str, note: Note) -> None:
    closing = words.closing(i + 1)
    parts = words.parts(i + 2, closing) if closing > i + 2 else []
    mode = _MODE.fullmatch(words.text(*parts[1]).strip()) if len(parts) == 2 else None
    if not parts or len(parts) > 2 or (len(parts) == 2 and not mode) or not _is_binary(words, i, closing, text, pickle):
        return
    new = f"'{re.sub('U', '', mode[2]) or 'r'}b'" if mode else "'rb'"
    if mode:
        words.put(parts[1][0], parts[1][1], f" {new}")
    else:
        words[closing:closing] = [Word("op", ", ", words[i].line), Word("string", new, words[i].line)]
    note(words[i].line, "a binary file")


def _is_binary(words: Words, i: int, closing: int, text: str, pickle: str) -> bool:
    """Whether what is read from the file is parsed as bytes, or what is written to it is bytes."""
    first, last = _line(words, i)
    before, behind = words.text(first, i), words.text(closing + 1, last)
    if re.search(rf"(?:{_PARSERS}|{pickle}\.load)\(\s*$", before) or re.match(rf"\.write\(.*(?:{_WRITTEN})", behind):
        return True
    if re.search(rf"{pickle}\.dump\(.*,\s*$", before):
        return True
    name = re.search(r"([\w.]+)\s*=\s*$", before)
    names = {match[1] for match in (name, re.match(r"\s+as\s+([\w.]+)", behind)) if match}
    names |= {read for each in names for read in re.findall(rf"([\w.]+)\s*=\s*{re.escape(each)}\.read\(\)", text)}
    return any(_takes_bytes(re.escape(each), text, pickle) for each in names)


def _takes_bytes(name: str, text: str, pickle: str) -> bool:
    return bool(
        re.search(rf"(?:{_PARSERS}|{pickle}\.loads?)\(\s*{name}(?![\w])", text)
        or re.search(rf"(?<![\w.]){name}\.write\([^\n]*(?:{_WRITTEN})", text)
        or re.search(rf"{pickle}\.dump\([^\n]*,\s*{name}\b", text)
    )


def _line(words: Words, i: int) -> tuple[int, int]:
    """The words of that line."""
    first = next((j + 1 for j in range(i, -1, -1) if words[j].kind == "newline"), 0)
    last = next((j for j in range(i, len(words)) if words[j].kind == "newline"), len(words))
    return first, last


def _load(words: Words, i: int, note: Note) -> None:
    closing = words.closing(i + 1)
    if len(words.parts(i + 2, closing)) == 1:
        words[closing:closing] = Words.of(", encoding='latin1'", words[i].line)
        note(words[i].line, "a pickle")


def _key(words: Words, opening: int, text: str, note: Note) -> None:
    first, last = words.parts(opening + 1, words.closing(opening))[0]
    key = words.text(first, last).strip()
    named = re.fullmatch(r"\w+", key) and re.search(rf"(?<![\w.]){key}\s*=\s*(?:{_TEXT_KEY})", text)
    if ("encode(" in key or not re.match(_TEXT_KEY, key)) and not named:
        return
    if named and re.search(rf"(?<![\w.]){key}\s*=[^\n]*encode\(", text):
        return
    simple = re.fullmatch(r"\w+|['\"][^'\"%]*['\"]|str\([^()]*\)|['\"][^'\"]*['\"]\.format\([^()]*\)", key)
    words.put(first, last, f"{key}.encode()" if simple else f"({key}).encode()")
    note(words[opening].line, "a key of bytes")
