"""What a batch run does, and what workers say of it."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from caffepy.batch.inputs import Fixed
from caffepy.batch.sinks import Sink
from caffepy.batch.sources import Part
from caffepy.batch.tasks import Task
from caffepy.data.files import open_file
from caffepy.limits import Limits

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Job:
    """A net, what is asked of it, and where that goes. It can be pickled, as far as its task can."""

    model: str
    weights: str | None
    task: Task
    sink: Sink
    mean: str | None = None
    """In words, see saliency.preprocess.preprocess_of."""
    scale: float = 255.0
    """The value of white in the net's input."""
    resize: bool = True
    """Whether pictures of other sizes than the net's input are resized; else they are errors."""
    inputs: Fixed = ()
    """Values of further inputs."""
    device: int | str = "cpu"
    """A GPU's number, or "cpu"."""
    batch: int = 0
    """Pictures in a pass; 0: as many as fit."""
    threads: int = 1
    """Of passes on the CPU."""
    decoders: int = 1
    """Threads that read pictures beside the passes."""
    limits: Limits = field(default_factory=Limits)
    """What the model may do beyond computing."""
    strict: bool = False
    """Whether a picture that cannot be read stops the run."""

    def identity(self) -> dict[str, Any]:
        """What decides which rows come out, but the source: hashes of files, and options."""
        return {
            "model": file_digest(self.model),
            "weights": None if self.weights is None else file_digest(self.weights),
            "task": self.task.options(),
            "input": {
                "mean": self._mean(),
                "scale": self.scale,
                "resize": self.resize,
                **({"values": dict(self.inputs)} if self.inputs else {}),
            },
            "sink": self.sink.kind,
        }

    def _mean(self) -> str | None:
        return file_digest(self.mean) if self.mean and os.path.isfile(self.mean) else self.mean


@dataclass
class Seconds:
    """Where a worker's time went: it waited for pictures, ran the net, wrote; and all of it."""

    decode: float = 0.0
    net: float = 0.0
    write: float = 0.0
    total: float = 0.0
    reading: float = 0.0
    """CPU time of the threads that decode, beside all that."""

    def add(self, other: "Seconds") -> None:
        """Add another's."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class Done:
    """A shard that is written."""

    number: int
    rows: int
    errors: list[tuple[int, str, str]]
    """index, key and reason of each picture that could not be read."""
    seconds: Seconds = field(default_factory=Seconds)

    @property
    def pictures(self) -> int:
        """Read or not."""
        return self.rows + len(self.errors)


@dataclass
class Shards:
    """What is left to do, and what happened meanwhile."""

    waiting: Mapping[int, Part]
    """By number."""
    deaths: int = 0
    """Workers that ended before their shard did."""
    pictures: int = 0
    """How many are done, those of unfinished shards included."""


def file_digest(path: str) -> str:
    """A hash of a file's bytes. Raises MissingFileError, or DataError for what is no regular file."""
    sha = hashlib.sha256()
    with open_file(path) as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
    return sha.hexdigest()
