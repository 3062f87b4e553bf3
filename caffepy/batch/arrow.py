"""pyarrow, which reads and writes Parquet: imported where it is used."""

from typing import Any

from caffepy.errors import DeviceError


def import_pyarrow(what: str) -> Any:
    """The module. Raises DeviceError, saying what to install, where it is not there."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise DeviceError(f"{what} needs the library pyarrow ({error}); pip install caffepy[parquet]") from error
    return pyarrow
