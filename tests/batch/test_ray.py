"""Runs on Ray, where it is installed: the rows of processes, whatever happens to the actors."""

import logging
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from caffepy import batch
from caffepy.batch import on_ray
from caffepy.errors import DataError, DeviceError
from tests.batch.test_runs import files, made, numbered

ray = pytest.importorskip("ray", reason="ray is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

SHARD = 4
FUNCTION = """
import os, pathlib, time
GATE = pathlib.Path({gate!r})
def slow(net, data):
    (GATE / "pids" / str(os.getpid())).touch()
    first = round(float(data[0, 0, 0, 0])) // {shard}
    while len(list((GATE / "kills").iterdir())) * 2 < first:
        time.sleep(0.001)
    return {{"fc": net.blobs["fc"].data[: len(data)].copy()}}
"""


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
def test_actors_killed_at_any_moment_change_no_row(kills, tmp_path):
    model, weights, _ = made(tmp_path, count=0)
    for name in ("pids", "kills"):
        (tmp_path / "gate" / name).mkdir(parents=True)
    (tmp_path / "slow.py").write_text(FUNCTION.format(gate=str(tmp_path / "gate"), shard=SHARD))
    numbered(tmp_path / "numbered", SHARD * (2 * kills + 1))
    over = threading.Event()
    killer = threading.Thread(target=kill, args=(tmp_path / "gate", kills, over))
    given = model, weights, tmp_path / "numbered"
    options = {"batch": 2, "shard": SHARD, "workers": 2, "mean": "none"}
    task = batch.Function(f"{tmp_path}/slow.py:slow")
    killer.start()
    try:
        batch.run(*given, tmp_path / "out", task, ray="local", **options)
    finally:
        over.set()
        killer.join()
    assert len(list((tmp_path / "gate" / "kills").iterdir())) == kills
    batch.run(*given, tmp_path / "whole", task, **options)
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert len(files(tmp_path / "out")) == 2 * kills + 1


def kill(gate, count, over):
    """Kill actors that have begun, one after the other."""
    chance, own = random.Random(5), os.getpid()
    for i in range(count):
        while not over.is_set():
            time.sleep(chance.uniform(0, 0.1))
            pids = [int(path.name) for path in (gate / "pids").iterdir()]
            if alive := [pid for pid in pids if pid != own and Path(f"/proc/{pid}").exists()]:
                pid = chance.choice(alive)
                (gate / "pids" / str(pid)).unlink()
                os.kill(pid, signal.SIGKILL)
                break
        (gate / "kills" / str(i)).touch()


def test_errors_come_before_work_or_through(tmp_path):
    model, weights, _ = made(tmp_path)
    fc, pictures = batch.Blobs(("fc",)), tmp_path / "pictures"
    cores = multiprocessing.cpu_count()
    with pytest.raises(DeviceError, match="cannot be reached"):
        batch.run(model, weights, pictures, tmp_path / "none", fc, workers=1, ray="127.0.0.1:1")
    with pytest.raises(DeviceError, match=f"{cores + 9} workers need {cores + 9} CPUs, and there are {cores}"):
        batch.run(model, weights, pictures, tmp_path / "out", fc, workers=cores + 9, ray="local")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match=r"picture \d+ \(b005.png\): .*no PNG"):
        batch.run(model, weights, pictures, tmp_path / "out", fc, workers=1, strict=True, ray="local", batch=4)


def test_a_wait_for_what_others_hold_is_said(tmp_path, monkeypatch, caplog):
    """Another job has all CPUs until the message comes."""
    model, weights, _ = made(tmp_path)
    monkeypatch.setattr(on_ray, "PATIENCE", 1.0)
    ray.init(num_cpus=1, include_dashboard=False, logging_level=logging.ERROR)
    try:
        holder = ray.remote(num_cpus=1)(Holder).remote()
        ray.get(holder.__ray_ready__.remote())

        def release():
            while "the workers want 1 CPUs, 0 free" not in caplog.text:
                time.sleep(0.05)
            ray.kill(holder)

        threading.Thread(target=release, daemon=True).start()
        given = model, weights, tmp_path / "pictures", tmp_path / "out", batch.Blobs(("fc",))
        summary = batch.run(*given, workers=1, threads=1, ray="auto")
    finally:
        ray.shutdown()
    assert summary.rows == 20
    assert "no shard for" in caplog.text


class Holder:
    pass
