"""For mkdocstrings: the aligned lists of arguments in docstrings become Markdown lists."""

import re
from typing import Any

from griffe import Extension, Object

_ENTRY = re.compile(r"^(\w[\w, ]*?)\s{2,}(\S.*)$")
"""`image   what it is`: a name, or several, then at least two spaces."""


class Lists(Extension):  # type: ignore[misc]
    """Rewrites each docstring as it is loaded."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called for every object."""
        if obj.docstring is not None:
            obj.docstring.value = listed(obj.docstring.value)


def listed(text: str) -> str:
    """Paragraphs whose lines are entries, or go on with one, as list items; everything else as it is."""
    return "\n\n".join(map(_paragraph, re.split(r"\n[ \t]*\n", text)))


def _paragraph(text: str) -> str:
    lines = text.splitlines()
    if not lines or not _ENTRY.match(lines[0]):
        return text
    items: list[str] = []
    for line in lines:
        if found := _ENTRY.match(line):
            items.append(f"* `{found[1]}`: {found[2]}")
        elif line.startswith(" "):
            items[-1] += f" {line.strip()}"
        else:
            return text
    return "\n".join(items)
