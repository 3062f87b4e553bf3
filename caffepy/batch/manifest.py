"""What is written down of a run, so that another can go on: what it is of, and the shards that are there."""

import csv
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from caffepy.batch.job import Done, Seconds
from caffepy.batch.sinks.shards import name_of
from caffepy.errors import DataError, StateError
from caffepy.proto.files import replacing

_FILE, _RECORDS, _SUMMARY, _ERRORS = "_manifest.json", "_records", "_summary.json", "_errors.csv"
_WORDS = {
    "model": "model",
    "weights": "weights",
    "source": "source",
    "task": "what is asked for",
    "input": "mean, scale, resizing or values of inputs",
    "sink": "kind of sink",
}


@dataclass(frozen=True)
class Manifest:
    """A folder of results, what they are of, see Job.identity, and how it is cut into shards."""

    folder: str
    identity: Mapping[str, Any]
    batch: int
    shard: int
    """Pictures of a shard."""

    def record(self, done: Done) -> None:
        """Commit a shard whose rows are there."""
        path = os.path.join(self.folder, _RECORDS, f"{name_of(done.number)}.json")
        _write(path, {"rows": done.rows, "errors": done.errors, "seconds": asdict(done.seconds)})

    def done(self) -> dict[int, Done]:
        """The shards that are there, by number."""
        found = {}
        folder = os.path.join(self.folder, _RECORDS)
        for name in sorted(os.listdir(folder)):
            if name.startswith("part-") and name.endswith(".json"):
                number, record = int(name[5:-5]), _read(os.path.join(folder, name))
                errors = [(int(index), str(key), str(reason)) for index, key, reason in record["errors"]]
                found[number] = Done(number, record["rows"], errors, Seconds(**record["seconds"]))
        return found

    @property
    def finished(self) -> bool:
        """Whether a run has come to its end."""
        return os.path.exists(os.path.join(self.folder, _SUMMARY))

    def finish(self, done: Iterable[Done], summary: Mapping[str, Any]) -> None:
        """Write the table of errors and the summary."""
        path = os.path.join(self.folder, _ERRORS)
        with (
            replacing(path) as beside,
            open(beside, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["index", "key", "reason"])
            for shard in sorted(done, key=lambda one: one.number):
                writer.writerows(shard.errors)
        _write(os.path.join(self.folder, _SUMMARY), summary)


def found_in(folder: str) -> Manifest | None:
    """The manifest of the results in a folder; none where the folder is empty or not there.

    Raises StateError for a folder of other things, DataError for a manifest that cannot be read.
    """
    path = os.path.join(folder, _FILE)
    if os.path.exists(path):
        known = _read(path)
        try:
            return Manifest(folder, known["identity"], int(known["batch"]), int(known["shard"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path!r} is no manifest of caffepy's; give another folder") from error
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise StateError(f"{folder!r} is a file; results go into a folder")
    if os.path.isdir(folder) and os.listdir(folder):
        raise StateError(f"{folder!r} holds files, and none is a manifest; give an empty folder, or a new one")
    return None


def begin(manifest: Manifest) -> None:
    """Make the folder and write the manifest."""
    os.makedirs(os.path.join(manifest.folder, _RECORDS), exist_ok=True)
    _write(
        os.path.join(manifest.folder, _FILE),
        {"identity": manifest.identity, "batch": manifest.batch, "shard": manifest.shard},
    )


def check_same(manifest: Manifest, identity: Mapping[str, Any]) -> None:
    """Raise StateError where the results are of something else, saying what differs."""
    known = manifest.identity
    if other := [word for key, word in _WORDS.items() if known.get(key) != identity.get(key)]:
        raise StateError(
            f"{manifest.folder!r} holds the results of another run: not the same {' and '.join(other)}. Give another "
            "folder, or remove this one"
        )


def _write(path: str, value: Mapping[str, Any]) -> None:
    with replacing(path) as beside, open(beside, "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(value, file, indent=1)


def _read(path: str) -> Any:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{path!r} cannot be read: {error}; remove it to make that part anew") from error
