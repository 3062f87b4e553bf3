"""Files written while the process is killed, the disk is full, or somebody else writes them too.

    python -m tests.fuzz.writers TRIAL

runs a trial for every kind of file, in forks of its own, and prints what was wrong, a line each; else nothing.
"""

import functools
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import caffepy as caffe
from caffepy import draw
from caffepy.errors import CaffeError
from caffepy.interop.safetensors import save_safetensors
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.saliency import pictures
from tests.fuzz import nets

KILLS = 20


@functools.cache
def net(version: int) -> caffe.Net:
    """A net whose weights are all that number."""
    made = caffe.Net(nets.seeds_of("Convolution", "InnerProduct"), caffe.TEST)
    for blobs in made.params.values():
        for blob in blobs:
            blob.data[...] = version
    return made


def definition(version: int) -> NetParameter:
    """A net of that name."""
    return prototxt.parse(
        f'name: "net {version}" ' + 'layer { name: "a" type: "ReLU" bottom: "b" top: "b" }' * 50, NetParameter
    )


KINDS: dict[str, Callable[[str, int], object]] = {
    "x.caffemodel": lambda path, version: net(version).save(path),
    "x.caffemodel.h5": lambda path, version: net(version).save(path),
    "x.safetensors": lambda path, version: save_safetensors(net(version), path),
    "x.prototxt": lambda path, version: prototxt.write(path, definition(version)),
    "x.svg": lambda path, version: draw.draw_net_to_file(definition(version), path),
    "x.png": lambda path, version: pictures.save(np.full((64, 64, 3), version, np.uint8), path),
}
"""By the name of what is written: a function of the path and a version, which tells files apart."""


def whole(kind: str, folder: Path) -> dict[bytes, int]:
    """The two versions' contents."""
    found = {}
    for version in (1, 2):
        path = folder / f"{version}-{kind}"
        KINDS[kind](os.fspath(path), version)
        found[path.read_bytes()] = version
        path.unlink()
    if len(found) != 2:
        raise AssertionError(f"{kind}: versions cannot be told apart")
    return found


def faults(kind: str, folder: Path, versions: dict[bytes, int], when: str) -> Iterator[str]:
    """What is wrong with the folder now."""
    path = folder / kind
    if path.exists() and path.read_bytes() not in versions:
        yield f"{when}: {kind} is neither of the versions: {path.stat().st_size} bytes"
    if left := sorted(set(os.listdir(folder)) - {kind}):
        yield f"{when}: {left} left over"


def forked(body: Callable[[], object]) -> int:
    """The process that runs it; it ends with 0, or with 1 where something was raised."""
    if pid := os.fork():
        return pid
    try:
        body()
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(1)


def killed(kind: str, folder: Path) -> Iterator[str]:
    """A writer is killed at random moments, 20 times; the next one removes what it left."""
    versions, path, chance = whole(kind, folder), os.fspath(folder / kind), random.Random(0)

    def forever() -> None:
        while True:
            for version in (1, 2):
                KINDS[kind](path, version)

    for i in range(KILLS):
        pid = forked(forever)
        time.sleep(chance.uniform(0, 0.03))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for name in os.listdir(folder):
            os.utime(folder / name, (0, 0))
        KINDS[kind](path, 1 + i % 2)
        yield from faults(kind, folder, versions, f"kill {i}")


def full(kind: str, folder: Path) -> Iterator[str]:
    """The disk is full after so many bytes: the old file stays, and the error names it."""
    versions, path = whole(kind, folder), folder / kind
    KINDS[kind](os.fspath(path), 1)
    size = min(map(len, versions))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for most in (0, 1, *range(size // 10, size, max(1, size // 10)), size - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        yield from refused(kind, path, f"room for {most} bytes of {size}")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        yield from faults(kind, folder, dict.fromkeys(v for v, n in versions.items() if n == 1), f"{most} bytes")


def refused(kind: str, path: Path, when: str) -> Iterator[str]:
    """What is wrong with the error that writing must end with."""
    try:
        KINDS[kind](os.fspath(path), 2)
        yield f"{when}: no error"
    except CaffeError as error:
        if str(path) not in str(error):
            yield f"{when}: the error does not name the path: {error}"
    except Exception as error:
        yield f"{when}: {type(error).__name__}: {error}"


def forbidden(kind: str, folder: Path) -> Iterator[str]:
    """Nobody's process may not write in the folder."""
    KINDS[kind](os.fspath(folder / kind), 1)
    before = (folder / kind).read_bytes()
    os.chmod(folder, 0o555)
    if os.geteuid() == 0:
        os.setuid(65534)  # of this process, which ends with the trial
    yield from refused(kind, folder / kind, "no permission")
    if (folder / kind).read_bytes() != before:
        yield "the old file is gone"


def together(kind: str, folder: Path) -> Iterator[str]:
    """Two threads of two processes each write one name; a reader looks on."""
    versions, path = whole(kind, folder), folder / kind

    def thread(version: int) -> None:
        for _ in range(10):
            KINDS[kind](os.fspath(path), version)

    def process() -> None:
        errors: list[BaseException] = []
        threading.excepthook = lambda arguments: errors.append(arguments.exc_value)
        threads = [threading.Thread(target=thread, args=(version,)) for version in (1, 2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        if errors:
            raise errors[0]

    writers = {forked(process) for _ in range(2)}
    while writers:
        if path.exists() and path.read_bytes() not in versions:
            yield "a reader found half a file"
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            writers.discard(pid)
            if status:
                yield f"a writer ended with {status}"
    yield from faults(kind, folder, versions, "at the end")


def say(trial: Callable[[str, Path], Iterator[str]], kind: str, folder: Path) -> None:
    """Print what was wrong."""
    for fault in trial(kind, folder):
        print(f"{kind}: {fault}", flush=True)


TRIALS = {"killed": killed, "full": full, "forbidden": forbidden, "together": together}

if __name__ == "__main__":
    for _kind in KINDS:
        with tempfile.TemporaryDirectory() as _folder:
            os.waitpid(forked(functools.partial(say, TRIALS[sys.argv[1]], _kind, Path(_folder))), 0)
