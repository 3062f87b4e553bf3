"""Every error caffepy raises on purpose.

    CaffeError                  (Exception)
    ├── ProtoError              (ValueError)    a prototxt or caffemodel that cannot be read or written
    │   └── UnknownFieldError                   a field name the schema does not have
    ├── MissingFileError        (RuntimeError, FileNotFoundError)
    ├── NotAllowedError         (PermissionError)   a module or file that a model names and its limits do not allow
    ├── DataError               (RuntimeError, ValueError)   a database, list, HDF5 file or picture that cannot be read
    ├── GraphError              (ValueError)    blobs and layers that do not fit together
    ├── LayerError              (ValueError)    a layer's parameters, bottom shapes or values are wrong
    ├── WeightsError            (ValueError)    weights that do not fit the net
    ├── SolverError             (ValueError)    a solver's settings, or a snapshot that is not of this solver
    ├── NotFiniteError          (ArithmeticError)   training that has left the numbers: a loss of NaN or infinity
    ├── UnknownLayerError       (ValueError, KeyError)
    ├── UnknownBlobError        (KeyError)
    ├── ArgumentError           (TypeError, ValueError)   a call's arguments are of the wrong kind, number or shape
    │   └── ImageError          (OSError)       a file that is not a picture
    ├── StateError              (RuntimeError)  a call that this moment does not allow
    ├── InternalError           (RuntimeError)  a fault of caffepy itself; the cause is what Python raised
    ├── KernelError             (TypeError)     an operation misdeclared or miscalled
    └── DeviceError             (RuntimeError)  a mode or device this machine cannot give

The second bases are what pycaffe raised in the same place, so that `except` clauses in scripts keep matching.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Self


class CaffeError(Exception):
    """Base of all of them. Where pycaffe has a sentence of its own, that is the message; advice stands in notes."""

    def advise(self, note: str) -> Self:
        """The error with a note, which tracebacks show below the message."""
        self.add_note(note)
        return self

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # KeyError would print its repr


class ProtoError(CaffeError, ValueError):
    """A prototxt or caffemodel that cannot be read or written; the message gives the place."""


class UnknownFieldError(ProtoError):
    """A field name the schema does not have."""


class MissingFileError(CaffeError, RuntimeError, FileNotFoundError):
    """A file that is not there or cannot be opened."""


class NotAllowedError(CaffeError, PermissionError):
    """A module or file that a model names, and that its caffepy.limits.Limits do not allow."""


class DataError(CaffeError, RuntimeError, ValueError):
    """A database, list, HDF5 file or picture that cannot be read; the message names file, key or line."""


class GraphError(CaffeError, ValueError):
    """Blobs and layers that do not fit together."""


class LayerError(CaffeError, ValueError):
    """A layer's parameters, bottom shapes or values are wrong."""


class WeightsError(CaffeError, ValueError):
    """Weights that do not fit the net."""


class SolverError(CaffeError, ValueError):
    """A solver's settings are wrong, or a snapshot is not of this solver."""


class NotFiniteError(CaffeError, ArithmeticError):
    """Training has left the numbers: the loss is NaN or infinite."""


class UnknownLayerError(CaffeError, ValueError, KeyError):
    """No layer of that name."""


class UnknownBlobError(CaffeError, KeyError):
    """No blob of that name."""


class ArgumentError(CaffeError, TypeError, ValueError):
    """A call's arguments are of the wrong kind, number or shape."""


class ImageError(ArgumentError, OSError):
    """A file that is not a picture."""


class StateError(CaffeError, RuntimeError):
    """A call that this moment does not allow."""


class InternalError(CaffeError, RuntimeError):
    """A fault of caffepy itself, told as one of its errors all the same: its cause is what Python raised."""


class KernelError(CaffeError, TypeError):
    """An operation misdeclared or miscalled."""


class DeviceError(CaffeError, RuntimeError):
    """A mode or device this machine cannot give."""


def check_name(name: object, what: str, names: Sequence[str]) -> None:
    """Raise ArgumentError for what is no string; where it is a number, the message has the name of that number."""
    if not isinstance(name, str):
        number = f"; number {name} is {names[name]!r}" if isinstance(name, int) and 0 <= name < len(names) else ""
        raise ArgumentError(f"give a {what}'s name, got {name!r}{number}")


def visible(text: str) -> str:
    """The text with U+FFFD for each character that no terminal shows: names may hold what moves its cursor."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def nearest(name: object, names: Iterable[str]) -> str:
    """`; did you mean ...?` or nothing; capitals count for nothing."""
    spelled: dict[str, list[str]] = {}
    for each in names:
        spelled.setdefault(each.lower(), []).append(each)
    wanted = str(name).lower()
    near = [wanted] if wanted in spelled else difflib.get_close_matches(wanted, spelled, 3, 0.5)
    shown = [repr(each) for key in near for each in spelled[key]][:3]
    return f"; did you mean {' or '.join(shown)}?" if shown else ""
