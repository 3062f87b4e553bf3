"""Suites run one after the other, each saved when it ends, with what the figures depend on."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import data, layers, load, machine, memory, peers, saliency, shared_machine, start, train, whole_nets
from benchmarks.suite import Settings
from benchmarks.turns import UNSET

QUIET = 0.1
"""Share of the processors' time that others may take before a note says so."""


def run(arguments: argparse.Namespace) -> int:
    """The exit status: 1 where a suite failed."""
    wanted = arguments.peers.split(",")
    unknown = [name for name in wanted if name and name not in peers.MODULES]
    if unknown:
        raise SystemExit(f"there is no peer {unknown[0]!r}, but {', '.join(peers.MODULES)}")
    settings = Settings(
        nets=arguments.nets.split(","),
        batches=arguments.batch,
        threads=arguments.threads,
        rounds=arguments.rounds,
        peers=peers.found([name for name in wanted if name], [sys.executable, *arguments.peer_python]),
        ways=arguments.ways.split(","),
        methods=arguments.methods.split(",") if arguments.methods else None,
        pictures=arguments.pictures,
        deadline=time.monotonic() + 60 * arguments.minutes,
    )
    print(f"peers: {', '.join(f'{name} {peer.version}' for name, peer in settings.peers.items()) or 'none'}")
    failed = 0
    for name in arguments.suites:
        if not settings.late(name):
            failed += not _suite(name, settings, arguments.out)
    for note in settings.notes:
        print(note)
    print(f"written to {arguments.out}")
    return 1 if failed else 0


def _suite(name: str, settings: Settings, out: Path) -> bool:
    """Whether it ended without an error."""
    print(f"\n{name}", flush=True)
    notes = len(settings.notes)
    busy = [machine.busy()]
    began = time.monotonic()
    try:
        result, error = SUITES[name](settings), None
    except Exception as problem:  # the other suites go on
        result, error = None, f"{name}: {type(problem).__name__}: {problem}"
        settings.notes.append(error)
    seconds = round(time.monotonic() - began)
    busy.append(machine.busy())
    entry: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.facts() | {peer: of.version for peer, of in settings.peers.items()},
        "threads": settings.threads,
        "unset": list(UNSET),
        "busy before and after": busy,
        "seconds": seconds,
        "notes": settings.notes[notes:],
        "result": result,
    }
    if any(share is not None and share > QUIET for share in busy):
        entry["notes"].insert(0, f"the machine was not quiet: others took {busy[0]:.0%} before and {busy[1]:.0%} after")
    if result:
        save(out, name, entry)
    return error is None


def save(path: Path, suite: str, entry: dict[str, Any]) -> None:
    """Into the file, beside the suites that it has."""
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known | {suite: entry}, indent=1) + "\n")


def _train(settings: Settings) -> list[dict[str, Any]]:
    found = []
    for net, passes in (("lenet", 20), ("caffenet", 1)):
        if not settings.late(f"train: {net}"):
            torch = settings.peers.get("torch")
            found.append(train.measure(net, 64, settings.threads, settings.rounds, passes, torch))
            print(f"{net:10} {found[-1]['step']}, losses {found[-1]['loss']}", flush=True)
    return found


def _saliency(settings: Settings) -> list[dict[str, Any]]:
    from caffepy.saliency import METHODS, named

    pythons = {name: settings.peers[name].python for name in saliency.PEERS if name in settings.peers}
    found = []
    for net in [net for net in settings.nets if net in ("googlenet", "squeezenet")][:1]:
        for method in [named(name).name for name in settings.methods or METHODS]:
            if not settings.late(f"saliency: {net}, {method}"):
                found.append(saliency.measure(net, method, settings.threads, min(3, settings.rounds), 2, pythons))
                print(saliency.line(found[-1]), flush=True)
    return found


def _printed(result: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(result, indent=1), flush=True)
    return result


def _gpu(settings: Settings) -> None:
    from benchmarks.__main__ import main

    if main(["gpu"]):
        settings.notes.append("gpu: did not run through; its own lines say why")


SUITES: dict[str, Callable[[Settings], Any]] = {
    "layers": layers.measure,
    "nets": whole_nets.measure,
    "saliency": _saliency,
    "train": _train,
    "data": lambda settings: _printed(data.measure(settings.rounds, settings.pictures)),
    "load": lambda settings: _printed(load.measure(settings.rounds)),
    "memory": memory.measure,
    "start": start.measure,
    "shared-machine": shared_machine.measure,
    "gpu": _gpu,
}
