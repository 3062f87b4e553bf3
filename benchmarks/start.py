"""`start`: what importing takes, and the way from CaffeNet's 244 MB on disk to its first output."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import case
from benchmarks.peers import MODULES
from benchmarks.suite import Settings, prepared
from benchmarks.turns import environment, summary

_IMPORT = "import time; a = time.process_time(); import {}; print(time.process_time() - a)"


def measure(settings: Settings) -> dict[str, Any]:
    """Seconds of processor time of imports; ratio of starting to reading the file and running forward."""
    modules = {"caffepy": sys.executable} | {
        MODULES[name]: peer.python
        for name, peer in settings.peers.items()
        if name in ("torch", "onnxruntime", "opencv")
    }
    times: dict[str, list[float]] = {module: [] for module in modules}
    with tempfile.TemporaryDirectory() as compiled:
        for turn in range(settings.rounds + 1):
            for module, python in modules.items():
                command = [python, "-W", "ignore", "-c", _IMPORT.format(module)]
                seconds = float(_output(command, settings, compiled))
                if turn:  # the first compiles
                    times[module].append(seconds)
    found: dict[str, Any] = {"import, ms of the processor": {module: summary(t) for module, t in times.items()}}
    with prepared("caffenet") as folder:
        case.write("caffenet", 1, folder)
        command = [sys.executable, "-m", "benchmarks.start", str(folder)]
        runs = [json.loads(_output(command, settings, str(folder))) for _ in range(settings.rounds + 1)][1:]
    keys = runs[0]
    found["CaffeNet from disk"] = {key: summary([run[key] for run in runs]) for key in keys}
    best = {key: min(run[key] for run in runs) for key in keys}
    found["CaffeNet from disk"]["ratio"] = round(best["to the first output"] / (best["read"] + best["forward"]), 3)
    print(json.dumps(found, indent=1), flush=True)
    return found


def _output(command: list[str], settings: Settings, compiled: str) -> str:
    """The last line that it prints; compiled modules are kept in that folder, as an installed package's are."""
    variables = environment(settings.threads) | {"PYTHONPYCACHEPREFIX": compiled}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=variables)
    return run.stdout.splitlines()[-1]


def start(folder: Path) -> dict[str, float]:
    """Seconds from the files to the first output, of reading the file's bytes, and of a settled forward pass."""
    import caffepy

    (folder / case.WEIGHTS).read_bytes()
    begin = time.perf_counter()
    net = caffepy.Net(str(folder / case.DEFINITION), caffepy.TEST, weights=str(folder / case.WEIGHTS))
    net.forward()
    whole = time.perf_counter() - begin
    begin = time.perf_counter()
    (folder / case.WEIGHTS).read_bytes()
    read = time.perf_counter() - begin
    forward = []
    for _ in range(10):
        begin = time.perf_counter()
        net.forward()
        forward.append(time.perf_counter() - begin)
    return {"to the first output": whole, "read": read, "forward": min(forward)}


if __name__ == "__main__":
    print(json.dumps(start(Path(sys.argv[1]))))
