"""`caffepy run`: a pycaffe script as it is, with `import caffe` meaning caffepy."""

import importlib
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

import click

import caffepy
from caffepy.cli.python2 import GONE, GONE_FROM_NUMPY, convert
from caffepy.cli.python2.files import (
    ALWAYS_LEFT,
    code_of,
    convert_file,
    convert_folder,
    read_notebook,
    remaining,
    text_of,
)

_SHOWN = 8
_OLD_TYPES = re.compile(r"'(dict_\w+|zip|map|filter)' object is not subscriptable|str or None, not bytes")
_NOT_IN_NUMPY = re.compile(r"module 'numpy' has no attribute '(\w+)'")
_NOT_IN_MODULE = re.compile(r"cannot import name '(\w+)'")


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--cpu", is_flag=True, help="Let caffe.set_mode_gpu() mean the CPU; as with CAFFEPY_MODE=cpu.")
@click.option(
    "--convert",
    "converting",
    is_flag=True,
    help="Write scripts, notebooks or whole folders of Python 2 in Python 3, beside them; run nothing.",
)
@click.option("--in-place", is_flag=True, help="With --convert: write over them instead.")
@click.argument("script", metavar="SCRIPT")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]...")
def run(script: str, arguments: tuple[str, ...], cpu: bool, converting: bool, in_place: bool) -> None:
    """Run a pycaffe script as `python SCRIPT ARGUMENTS` would, with `import caffe` meaning caffepy.

    SCRIPT is a .py file, or a notebook, whose code cells are run one after the other. Any other Caffe that the script
    would find is left aside. Arguments, exceptions and the exit code are the script's own.
    """
    if converting:
        for path in (script, *arguments):
            _convert(Path(path), in_place=in_place)
        return
    if in_place:
        raise click.UsageError("--in-place goes with --convert.")
    try:
        source = Path(script).read_bytes()
    except OSError as error:
        raise click.ClickException(f"cannot read {script!r}: {error.strerror}; give a Python script") from error
    if cpu:
        os.environ["CAFFEPY_MODE"] = "cpu"
    codes = _codes(source, script)
    _import_caffe()
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    _execute(codes, script)


# ---- running


def _import_caffe() -> None:
    """Import caffe, as caffepy; from a checkout, too, and whatever else is on the path."""
    beside = Path(caffepy.__file__).parent / "_alias"  # absent in a wheel, which has its contents in site-packages
    place = str(beside if beside.is_dir() else Path(caffepy.__file__).parent.parent)
    sys.path.insert(0, place)
    try:
        importlib.import_module("caffe")
    finally:
        sys.path.remove(place)


def _execute(codes: Sequence[CodeType], script: str) -> None:
    """Run it as __main__. What it raises goes to sys.excepthook, without the frames of this program."""
    main = ModuleType("__main__")
    main.__file__ = str(Path(script).resolve())
    main.__dict__["__builtins__"] = __builtins__
    before, sys.modules["__main__"] = sys.modules["__main__"], main
    try:
        for code in codes:
            exec(code, main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        sys.stdout.flush()
        own = error.__traceback__.tb_next if error.__traceback__ else None
        sys.excepthook(type(error), error.with_traceback(own), own)
        _hint(error, own, script)
        sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)
    finally:
        sys.modules["__main__"] = before


def _hint(error: BaseException, trace: TracebackType | None, script: str) -> None:
    """Say what to do where the script asked for a name that only Python 2 or NumPy of its time has."""
    name, since = getattr(error, "name", None), "Python 2"
    if isinstance(error, TypeError) and _OLD_TYPES.search(str(error)):
        name = str(error)
    elif not isinstance(error, NameError | AttributeError | ImportError):
        return
    elif (found := _NOT_IN_NUMPY.match(str(error))) and found[1] in GONE_FROM_NUMPY:
        name, since = f"numpy.{found[1]}", "NumPy before 1.24"
    else:
        name = found[1] if (found := _NOT_IN_MODULE.match(str(error))) else name
        if name not in GONE:
            return
    frames = [frame for frame in traceback.extract_tb(trace) if frame.name != "__getattr__"]  # NumPy's own
    where = os.path.realpath(frames[-1].filename) if frames else ""
    if isinstance(error, ModuleNotFoundError) or where == os.path.realpath(script):
        click.echo(f"\n{name!r} is of {since}. {_advice(script)}", err=True)


# ---- Python 2


def _codes(source: bytes, script: str) -> list[CodeType]:
    """The script's code, or that of each cell of a notebook."""
    name = str(Path(script).resolve())
    if not script.endswith(".ipynb"):
        return [_compiled(source, name, script)]
    os.environ.setdefault("MPLBACKEND", "Agg")  # pictures would go into the notebook
    texts = code_of(read_notebook(Path(script), source))
    return [_compiled(text.encode(), f"{name}, cell {i}", script) for i, text in enumerate(texts, start=1)]


def _compiled(text: bytes, name: str, script: str) -> CodeType:
    """A SyntaxError is told as Python does; where the script is Python 2, what to do."""
    try:
        return compile(text, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        converted = convert(text_of(text))
        line = getattr(error, "lineno", None)
        if not converted.changes or not (line in converted.changes or remaining(converted) is None):
            sys.excepthook(type(error), error.with_traceback(None), None)
            sys.exit(1)
        found = [f"  line {at}: {', '.join(what)}" for at, what in converted.changes.items()]
        more = [f"  and {len(found) - _SHOWN} more lines"] if len(found) > _SHOWN else []
        listed = "\n".join([*found[:_SHOWN], *more])
        raise click.ClickException(f"{script} is written in Python 2:\n{listed}\n{_advice(script)}") from error


def _advice(script: str) -> str:
    return f"Write it in Python 3, beside it: caffepy run --convert {script}"


def _convert(path: Path, *, in_place: bool) -> None:
    target = path if in_place else path.with_name(f"{path.stem}_py3{path.suffix}")
    if not path.exists():
        raise click.ClickException(f"cannot read {str(path)!r}: give a Python script, a notebook or a folder of them")
    if target.exists() and not in_place:
        raise click.ClickException(f"{target} is there already; move or remove it first")
    if path.is_dir():
        reports = [report for report in convert_folder(path, target) if report.target]
    else:
        reports = [report] if (report := convert_file(path, target)).target else []
    if not reports:
        raise click.ClickException(f"{path}: found nothing of Python 2 to convert; run it as it is")
    for report in reports:
        for change in report.changes:
            click.echo(change)
        click.echo(f"written  {report.target}")
        for note in report.left:
            click.echo(f"look at  {note}")
    for note in ALWAYS_LEFT:
        click.echo(f"look at  {note}")
