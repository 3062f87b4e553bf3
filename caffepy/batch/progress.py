"""What is said of a run while it goes on, and afterwards."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from caffepy.batch.job import Done, Seconds


@dataclass
class Summary:
    """What a run did."""

    out: str
    pictures: int
    """Of the source."""
    done: list[Done] = field(default_factory=list)
    """The shards of this run."""
    before: list[Done] = field(default_factory=list)
    """Those that were there already."""
    batch: int = 0
    workers: int = 1
    engine: str = "processes"
    device: str = "cpu"
    deaths: int = 0
    seconds: float = 0.0

    @property
    def rows(self) -> int:
        """Pictures whose rows are there now."""
        return sum(shard.rows for shard in (*self.before, *self.done))

    @property
    def errors(self) -> list[tuple[int, str, str]]:
        """index, key and reason of each that could not be read."""
        return sorted(error for shard in (*self.before, *self.done) for error in shard.errors)

    @property
    def rate(self) -> float:
        """Pictures a second in this run."""
        return sum(shard.pictures for shard in self.done) / self.seconds if self.seconds else 0.0

    @property
    def shares(self) -> dict[str, float]:
        """Of the workers' time: waiting for pictures, in the net, writing."""
        return shares(shard.seconds for shard in self.done)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "out": self.out,
            "pictures": self.pictures,
            "rows": self.rows,
            "errors": len(self.errors),
            "resumed": sum(shard.pictures for shard in self.before),
            "engine": self.engine,
            "device": self.device,
            "workers": self.workers,
            "batch": self.batch,
            "workers_lost": self.deaths,
            "seconds": round(self.seconds, 3),
            "pictures_per_second": round(self.rate, 3),
            "shares": {name: round(share, 4) for name, share in self.shares.items()},
        }


def shares(each: Iterable[Seconds]) -> dict[str, float]:
    """Which part of all their time went where."""
    total = Seconds()
    for seconds in each:
        total.add(seconds)
    return {name: getattr(total, name) / total.total if total.total else 0.0 for name in ("decode", "net", "write")}


class Bar:
    """A line with pictures/s, where the time goes, and the time to go; on a terminal, or if asked for."""

    def __init__(self, total: int, initial: int, *, shown: bool | None) -> None:
        from tqdm import tqdm

        self._line: Any = tqdm(
            total=total,
            initial=initial,
            unit=" pictures",
            dynamic_ncols=True,
            disable=None if shown is None else not shown,
        )
        self._initial, self._start, self._seconds, self._errors = initial, time.perf_counter(), Seconds(), 0

    def update(self, pictures: int, finished: Iterable[Done], deaths: int) -> None:
        """So many pictures are done in this run, and these shards are new."""
        for shard in finished:
            self._seconds.add(shard.seconds)
            self._errors += len(shard.errors)
        said = [f"{name} {share:.0%}" for name, share in shares([self._seconds]).items() if self._seconds.total]
        said += [f"{self._errors} unreadable"] * bool(self._errors) + [f"{deaths} workers lost"] * bool(deaths)
        self._line.set_postfix_str(", ".join(said), refresh=False)
        self._line.update(min(self._initial + pictures, self._line.total) - self._line.n)

    def close(self) -> None:
        """End the line."""
        self._line.close()
