"""Which StringIO of a Python 2 script hold bytes."""

import re

from caffepy.cli.python2.words import Note, Words

MODULES = {"StringIO", "cStringIO"}
_TEXT = re.compile(r"csv\.|loadtxt|read_csv|readfp|StreamHandler|stdout|stderr|file\s*=|text_format")
_BYTES = re.compile(r"urlopen|\.read\(|base64|b64|tobytes|tostring|\.content|['\"]rb|\.data\b")


class Buffers:
    """Those that nothing says hold text hold bytes, and become BytesIO: mostly they hold pictures."""

    def __init__(self, words: Words, note: Note) -> None:
        self._words, text = words, words.text(0, len(words))
        self._alias = match[1] if (match := re.search(r"import\s+StringIO\s+as\s+(\w+)", text)) else "StringIO"
        self._kinds: set[str] = set()
        if not re.search(r"import\s+c?StringIO\b", text):
            return
        for i, word in enumerate(words):
            if word.text == self._alias and words.is_at(i + 1, "("):
                kind = "StringIO" if self._holds_text(i, text) else "BytesIO"
                self._kinds.add(kind)
                if kind == "BytesIO":
                    note(word.line, "StringIO")
                    word.text = kind if self._alias == "StringIO" else word.text

    def imported(self) -> str:
        """What `from StringIO import StringIO` has to import."""
        if self._alias != "StringIO" and len(self._kinds) > 1:
            return "StringIO"
        return ", ".join(sorted(self._kinds or {"StringIO"}))

    def _holds_text(self, i: int, text: str) -> bool:
        words, closing = self._words, self._words.closing(i + 1)
        argument = words.text(i + 2, closing).strip()
        if _BYTES.search(argument):
            return False
        if re.match(r"[uUrR]?['\"]", argument) or "join(" in argument:
            return True
        before = words.previous(words.primary(i))
        if before is None or words[before].text not in ("(", "="):
            return False
        owner = words.previous(before)
        name = "" if owner is None else words.text(words.primary(owner), owner + 1)
        if words[before].text == "(":  # handed to a function right away
            return bool(_TEXT.search(f"{name}."))
        wrote = re.compile(rf"print\s*>>\s*{re.escape(name)}|{re.escape(name)}\.write(lines)?\(\s*[\[(]?[uU]?['\"]")
        uses = [line for line in text.splitlines() if re.search(rf"(?<![\w.]){re.escape(name)}\b", line)]
        return any(_TEXT.search(line) or wrote.search(line) for line in uses)
