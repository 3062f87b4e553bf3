"""`caffepy run`: a pycaffe script as it is, with `import caffe` meaning caffepy."""

import importlib
import io
import os
import re
import sys
import tokenize
import traceback
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

import click

import caffepy
from caffepy.cli.python2 import GONE, Converted, convert
from caffepy.proto.files import replacing

_SHOWN = 8
_COOKIE = re.compile(r"(\A(?:.*\n)?\s*#.*?coding[:=]\s*)[-\w.]+")  # PEP 263


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--cpu", is_flag=True, help="Let caffe.set_mode_gpu() mean the CPU; as with CAFFEPY_MODE=cpu.")
@click.option(
    "--convert", "converting", is_flag=True, help="Write a Python 2 script in Python 3, beside it; run nothing."
)
@click.argument("script", metavar="SCRIPT.py")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]...")
def run(script: str, arguments: tuple[str, ...], cpu: bool, converting: bool) -> None:
    """Run a pycaffe script as `python SCRIPT.py ARGUMENTS` would, with `import caffe` meaning caffepy.

    Any other Caffe that the script would find is left aside. Arguments, exceptions and the exit code are the
    script's own.
    """
    try:
        source = Path(script).read_bytes()
    except OSError as error:
        raise click.ClickException(f"cannot read {script!r}: {error.strerror}; give a Python script") from error
    if converting:
        _convert(Path(script), source)
        return
    if cpu:
        os.environ["CAFFEPY_MODE"] = "cpu"
    code = _compiled(source, script)
    _import_caffe()
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).resolve().parent))
    _execute(code, script)


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


def _execute(code: CodeType, script: str) -> None:
    """Run it as __main__. What it raises goes to sys.excepthook, without the frames of this program."""
    main = ModuleType("__main__")
    main.__file__ = code.co_filename
    main.__dict__["__builtins__"] = __builtins__
    before, sys.modules["__main__"] = sys.modules["__main__"], main
    try:
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
    """Say what to do where the script asked for a name that only Python 2 has."""
    name = getattr(error, "name", None)
    if not isinstance(error, NameError | AttributeError | ModuleNotFoundError) or name not in GONE:
        return
    where = os.path.realpath(traceback.extract_tb(trace)[-1].filename) if trace else ""
    if isinstance(error, ModuleNotFoundError) or where == os.path.realpath(script):
        click.echo(f"\n{name!r} is of Python 2. {_advice(script)}", err=True)


# ---- Python 2


def _compiled(source: bytes, script: str) -> CodeType:
    """The script's code. A SyntaxError is told as Python does; where the script is Python 2, what to do."""
    try:
        return compile(source, str(Path(script).resolve()), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        converted = convert(_text(source))
        line = getattr(error, "lineno", None)
        if not converted.changes or not (line in converted.changes or _remaining(converted) is None):
            sys.excepthook(type(error), error.with_traceback(None), None)
            sys.exit(1)
        found = [f"  line {at}: {', '.join(what)}" for at, what in converted.changes.items()]
        more = [f"  and {len(found) - _SHOWN} more lines"] if len(found) > _SHOWN else []
        listed = "\n".join([*found[:_SHOWN], *more])
        raise click.ClickException(f"{script} is written in Python 2:\n{listed}\n{_advice(script)}") from error


def _advice(script: str) -> str:
    return f"Write it in Python 3, beside it: caffepy run --convert {script}"


def _convert(script: Path, source: bytes) -> None:
    converted = convert(_text(source))
    if not converted.changes:
        raise click.ClickException(f"{script}: found nothing of Python 2 to convert; run it as it is")
    target = script.with_name(f"{script.stem}_py3{script.suffix}")
    if target.exists():
        raise click.ClickException(f"{target} is there already; move or remove it first")
    with replacing(target) as beside:
        Path(beside).write_text(_COOKIE.sub(r"\1utf-8", converted.text, count=1), "utf-8", newline="\n")
    for line, what in converted.changes.items():
        click.echo(f"line {line}: {', '.join(what)}")
    click.echo(f"written  {target}")
    for note in _left(converted):
        click.echo(f"look at  {note}")


def _left(converted: Converted) -> list[str]:
    """What is not mechanical."""
    notes = [
        "map, filter, zip, keys(), values() and items(): they are no lists; wrap them in list() where one is needed",
        "bytes and text: open binary files with 'rb' or 'wb'; pickles of Python 2 load with encoding='latin1'",
    ]
    if converted.divisions:
        lines = ", ".join(map(str, converted.divisions))
        notes.insert(
            0, f"`/` in line {lines}: it divides whole numbers exactly now; `//` where the old result is meant"
        )
    if error := _remaining(converted):
        notes.insert(0, f"line {error.lineno}, which Python 3 still cannot read: {error.msg}")
    return notes


def _remaining(converted: Converted) -> SyntaxError | None:
    """What Python 3 says against the converted script."""
    try:
        compile(converted.text, "<converted>", "exec", dont_inherit=True)
    except SyntaxError as error:
        return error
    return None


def _text(source: bytes) -> str:
    """The source in the encoding that it names; by default UTF-8, or else Latin-1."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        return source.decode(encoding)
    except (SyntaxError, UnicodeDecodeError):
        return source.decode("latin-1")
