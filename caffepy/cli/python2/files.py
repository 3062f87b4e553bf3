"""Files of Python 2 written in Python 3: scripts, notebooks, folders of them."""

import io
import json
import os
import re
import shutil
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from caffepy.cli.python2.converter import Converted, convert
from caffepy.errors import ArgumentError
from caffepy.proto.files import replacing

_COOKIE = re.compile(r"(\A(?:.*\n)?\s*#.*?coding[:=]\s*)[-\w.]+")  # PEP 263
_MAGIC = re.compile(r"(?m)^(\s*)(?=[%!?]|[\w.]+\?+\s*$)")
_TIMED = re.compile(r"(?m)^(\s*)%time[ \t]+")
_OTHER_CELL = re.compile(r"(?m)(?:\A(?=%%(?!time|capture|prun)))|(?<!\A)^")
_IMPORT = re.compile(r"(?m)^([ \t]*)(import|from)[ \t]+([^#\n]+)")
_SUFFIXES = (".py", ".ipynb")


@dataclass
class Report:
    """What was done with one file."""

    path: Path
    target: Path | None
    """What was written; None where nothing of Python 2 was found."""
    changes: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """What is to be looked at."""


def text_of(source: bytes) -> str:
    """The source in the encoding that it names; by default UTF-8, or else Latin-1."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        return source.decode(encoding)
    except (SyntaxError, UnicodeDecodeError):
        return source.decode("latin-1")


def remaining(converted: Converted) -> SyntaxError | None:
    """What Python 3 says against the converted script."""
    try:
        compile(converted.text, "<converted>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return error
    return None


# ---- notebooks


def cells(notebook: object) -> Iterator[tuple[dict[str, object], str]]:
    """The code cells of a notebook, of any version, and the name of the field that holds their text."""
    if isinstance(notebook, dict):
        if notebook.get("cell_type") == "code":
            yield notebook, "source" if "source" in notebook else "input"
        for inner in [*notebook.get("worksheets", []), *notebook.get("cells", [])]:
            yield from cells(inner)


def read_notebook(path: Path, source: bytes) -> object:
    """Its JSON; raises ArgumentError where it is none."""
    try:
        return json.loads(source)
    except ValueError as error:
        raise ArgumentError(
            f"{path}: expected a notebook, which is JSON ({error}); save or download it again"
        ) from error


def code_of(notebook: object) -> list[str]:
    """The text of each code cell; lines that only IPython understands are comments."""
    texts = ["".join(cell[name]) for cell, name in cells(notebook)]  # type: ignore[arg-type]
    return [_OTHER_CELL.sub(r"# ", text) if _OTHER_CELL.match(text) else _magics(text) for text in texts]


def _magics(text: str) -> str:
    return _MAGIC.sub(r"\1pass  # ", _TIMED.sub(r"\1", text))


# ---- converting


def convert_file(path: Path, target: Path, *, siblings: frozenset[str] = frozenset()) -> Report:
    """Write a script or notebook in Python 3; nothing where nothing of Python 2 is in it.

    siblings  modules in the same package, which Python 2 imported without saying so
    """
    source = path.read_bytes()
    if path.suffix == ".ipynb":
        return _convert_notebook(path, target, source)
    converted = _convert_text(text_of(source), siblings)
    if not converted.changes:
        return Report(path, None)
    _write(target, _COOKIE.sub(r"\1utf-8", converted.text, count=1))
    changes = [f"line {line}: {', '.join(what)}" for line, what in converted.changes.items()]
    return Report(path, target, changes, _left(converted))


def _convert_notebook(path: Path, target: Path, source: bytes) -> Report:
    notebook, report = read_notebook(path, source), Report(path, None)
    for number, (cell, name) in enumerate(cells(notebook), start=1):
        text = "".join(cell[name])  # type: ignore[arg-type]
        hidden = _MAGIC.sub(r"\1#caffepy#", text)
        converted = convert(hidden)
        if converted.changes:
            report.target = target
            shown = converted.text.replace("#caffepy#", "")
            cell[name] = shown.splitlines(keepends=True) if isinstance(cell[name], list) else shown
            report.changes += [f"cell {number}, line {at}: {', '.join(w)}" for at, w in converted.changes.items()]
            report.left += [f"cell {number}, {note}" for note in _left(converted)]
    if report.target:
        _write(target, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    return report


def convert_folder(folder: Path, target: Path) -> Iterator[Report]:
    """Write every script and notebook below the folder in Python 3, into `target`, which gets everything else as it is.

    `target` may be the folder itself.
    """
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here, there = Path(root), target / Path(root).relative_to(folder)
        there.mkdir(parents=True, exist_ok=True)
        modules = {Path(name).stem for name in names if name.endswith(".py")} | set(folders)
        package = frozenset(modules - {"__init__"}) if "__init__.py" in names else frozenset[str]()
        for name in sorted(names):
            report = Report(here / name, None)
            if name.endswith(_SUFFIXES):
                report = convert_file(here / name, there / name, siblings=package)
                yield report
            if report.target is None and here != there:
                shutil.copy2(here / name, there / name)


def _convert_text(text: str, siblings: frozenset[str]) -> Converted:
    converted = convert(text)
    if not siblings or "__main__" in text:  # a script runs where no package is
        return converted
    changes = dict(converted.changes)

    def relative(match: re.Match[str]) -> str:
        indent, word, what = match.groups()
        new = _relative(word, what.rstrip(), siblings)
        if new is None:
            return match[0]
        line = converted.text.count("\n", 0, match.start()) + 1
        changes.setdefault(line, []).append(f"{word} {what.split()[0].rstrip(',')}, of the same package")
        return f"{indent}{new}{what[len(what.rstrip()) :]}"

    text = _IMPORT.sub(relative, converted.text)
    return Converted(text, dict(sorted(changes.items())), converted.divisions)


def _relative(word: str, what: str, siblings: frozenset[str]) -> str | None:
    """The import with those of the same package said to be so; None where there are none."""
    if word == "from":
        return f"from .{what}" if re.split(r"[\s.]", what)[0] in siblings else None
    parts = [part.strip() for part in what.split(",")]
    own = [part for part in parts if part.split()[0] in siblings]
    others = [part for part in parts if part not in own]
    if not own:
        return None
    return "; ".join([f"from . import {', '.join(own)}", *([f"import {', '.join(others)}"] if others else [])])


ALWAYS_LEFT = (
    "map, filter, zip, keys(), values() and items(): they are no lists; wrap them in list() where one is needed",
    "bytes and text: open binary files with 'rb' or 'wb'; pickles of Python 2 load with encoding='latin1'",
)
"""What is not mechanical in any script."""


def _left(converted: Converted) -> list[str]:
    """What is not mechanical in this one."""
    notes = []
    if error := remaining(converted):
        notes.append(f"line {error.lineno}, which Python 3 still cannot read: {error.msg}")
    if converted.divisions:
        lines = ", ".join(map(str, converted.divisions))
        notes.append(f"`/` in line {lines}: it divides whole numbers exactly now; `//` where the old result is meant")
    return notes


def _write(target: Path, text: str) -> None:
    with replacing(target) as beside:
        Path(beside).write_text(text, "utf-8", newline="\n")
