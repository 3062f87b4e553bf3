"""Runs on processes: every source gives the rows of a plain loop, what is there is not done again, nothing is lost."""

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from caffepy import batch
from caffepy.batch import processes
from caffepy.batch.manifest import Manifest
from caffepy.errors import ArgumentError, CaffeError, DataError, MissingFileError, StateError, UnknownBlobError
from caffepy.limits import Limits
from tests.batch import sets
from tests.cli import models

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow, by which the rows are read, is not installed")


def made(tmp_path, **how):
    paths = models.write(tmp_path)
    return paths["model"], paths["weights"], sets.pictures(tmp_path / "pictures", **how)


def rows(out):
    table = parquet.read_table(str(out))
    return sorted(table.to_pylist(), key=lambda row: row["index"])


def files(out):
    return {path.name: path.read_bytes() for path in Path(out).glob("part-*")}


@pytest.mark.parametrize(
    "kind", ["folder", "glob", "list", "lmdb", "leveldb", "tar", "plain parquet", "nested parquet"]
)
def test_every_source_gives_the_rows_of_a_plain_loop(kind, tmp_path):
    model, weights, paths = made(tmp_path)
    if kind == "lmdb":
        pytest.importorskip("lmdb", reason="lmdb, which writes the database, is not installed")
    if kind == "leveldb":
        pytest.importorskip("plyvel", reason="plyvel, which writes the database, is not installed")
    source, key, labelled = {
        "folder": lambda: (str(tmp_path / "pictures"), lambda path: path.name, False),
        "glob": lambda: (str(tmp_path / "pictures" / "*.png"), str, False),
        "list": lambda: (sets.listed(tmp_path, paths), str, True),
        "lmdb": lambda: (sets.database(tmp_path, paths), lambda path: f"{paths.index(path):05}", True),
        "leveldb": lambda: (sets.database(tmp_path, paths, "LEVELDB"), lambda path: f"{paths.index(path):05}", True),
        "tar": lambda: (sets.tar(tmp_path, paths), lambda path: f"./x/{path.stem}", True),
        "plain parquet": lambda: (sets.parquet(tmp_path, paths, nested=False), lambda p: str(paths.index(p)), True),
        "nested parquet": lambda: (sets.parquet(tmp_path, paths, nested=True), lambda path: path.name, True),
    }[kind]()
    out = tmp_path / "out"
    summary = batch.run(model, weights, source, out, batch.Blobs(("fc", "prob")), batch=4, shard=8, workers=2)
    wanted = {blob: sets.expected(model, weights, paths, blob) for blob in ("fc", "prob")}
    found = rows(out)
    bad = paths.index(next(path for path in paths if path.read_bytes() == b"no picture"))
    assert [row["index"] for row in found] == [i for i in range(len(paths)) if i != bad]
    for row in found:
        assert row["key"] == key(paths[row["index"]])
        assert row["label"] == (row["index"] if labelled else None)
        for blob in wanted:
            np.testing.assert_allclose(row[blob], wanted[blob][row["index"]], atol=2e-6)
    assert [(index, found_key) for index, found_key, _ in summary.errors] == [(bad, key(paths[bad]))]
    assert "cannot be decoded" in (out / "_errors.csv").read_text()
    said = json.loads((out / "_summary.json").read_text())
    assert (said["rows"], said["errors"], said["pictures"]) == (20, 1, 21)


def test_what_is_there_is_not_done_again(tmp_path):
    model, weights, _ = made(tmp_path)
    options = {"batch": 4, "shard": 4, "workers": 2}
    given = model, weights, tmp_path / "pictures"
    batch.run(*given, tmp_path / "whole", batch.Blobs(("fc",)), **options)
    batch.run(*given, tmp_path / "out", batch.Blobs(("fc",)), **options)
    whole = files(tmp_path / "whole")
    assert files(tmp_path / "out") == whole
    (tmp_path / "out/_records/part-00002.json").unlink()  # as if a worker had ended before it could say so
    (tmp_path / "out/part-00002.parquet").write_bytes(b"half of it")
    (tmp_path / "out/_records/part-00004.json").unlink()
    (tmp_path / "out/part-00004.parquet").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}
    again = batch.run(*given, tmp_path / "out", batch.Blobs(("fc",)), **options)
    assert sorted(done.number for done in again.done) == [2, 4]
    assert files(tmp_path / "out") == whole
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}
    assert {name for name in before if before[name] != after[name]} == {"part-00002.parquet"}
    assert again.rows == 20
    assert not batch.run(*given, tmp_path / "out", batch.Blobs(("fc",)), **options).done


@pytest.mark.parametrize(("count", "at_once"), [(3, 3), (16, 16), (17, 16)])
def test_a_pass_takes_no_more_pictures_than_there_are(count, at_once, tmp_path):
    model, weights, _ = made(tmp_path, count=count, bad=None)
    summary = batch.run(model, weights, tmp_path / "pictures", tmp_path / "out", batch.Blobs(("fc",)), workers=1)
    assert (summary.rows, summary.batch) == (count, at_once)


@pytest.mark.parametrize(
    ("options", "shard"),
    [({"workers": 2}, 2), ({"workers": 1}, 5), ({"workers": 2, "batch": 2}, 4), ({"workers": 2, "shard": 7}, 7)],
)
def test_small_runs_have_small_shards(options, shard, tmp_path, monkeypatch):
    """21 pictures: at least 4 shards for each worker, of full batches."""
    monkeypatch.setattr("caffepy.batch.runs._EACH", 4)
    model, weights, _ = made(tmp_path)
    summary = batch.run(
        model, weights, tmp_path / "pictures", tmp_path / "out", batch.Blobs(("fc",)), **{"batch": 1, **options}
    )
    assert [done.pictures for done in sorted(summary.done, key=lambda one: one.number)][:-1] == [shard] * (20 // shard)


def test_a_folder_of_other_results_is_refused_and_says_what_differs(tmp_path):
    model, weights, paths = made(tmp_path)
    given = {"batch": 4, "workers": 1}
    batch.run(model, weights, tmp_path / "pictures", tmp_path / "out", batch.Blobs(("fc",)), **given)
    changed = Path(weights).with_name("other.caffemodel")
    changed.write_bytes(Path(weights).read_bytes() + b"\x0a\x00")
    for words, run in {
        "what is asked for": lambda: (model, weights, tmp_path / "pictures", batch.Blobs(("prob",)), {}),
        "weights": lambda: (model, str(changed), tmp_path / "pictures", batch.Blobs(("fc",)), {}),
        "mean, scale": lambda: (model, weights, tmp_path / "pictures", batch.Blobs(("fc",)), {"mean": "none"}),
        "kind of sink": lambda: (model, weights, tmp_path / "pictures", batch.Blobs(("fc",)), {"sink": "npy"}),
        "source": lambda: (model, weights, paths[0], batch.Blobs(("fc",)), {}),
    }.items():
        *which, task, options = run()
        with pytest.raises(StateError, match=f"another run: not the same .*{words}"):
            batch.run(*which, tmp_path / "out", task, **given, **options)
    with pytest.raises(StateError, match="give --resume"):
        batch.run(model, weights, tmp_path / "pictures", tmp_path / "out", batch.Blobs(("fc",)), resume=False, **given)
    with pytest.raises(StateError, match="none is a manifest"):
        batch.run(model, weights, tmp_path / "pictures", tmp_path / "pictures", batch.Blobs(("fc",)), **given)


def test_errors_come_before_work(tmp_path):
    model, weights, _ = made(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.png").write_bytes(b"x")
    pictures, fc = tmp_path / "pictures", batch.Blobs(("fc",))
    for error, match, source, task, options in [
        (DataError, "holds no picture", tmp_path / "empty", fc, {}),
        (MissingFileError, "is not there", tmp_path / "none", fc, {}),
        (DataError, "none of the first 1 pictures", tmp_path / "bad", fc, {}),
        (UnknownBlobError, "fc8", pictures, batch.Blobs(("fc8",)), {}),
        (DataError, "must be 3x12x10", pictures, fc, {"resize": False}),
        (ArgumentError, "the best 9 of 7", pictures, batch.Classify(9), {}),
        (ArgumentError, "2 labels for 7 classes", pictures, batch.Classify(1, ("a", "b")), {}),
        (ArgumentError, "detects nothing", pictures, batch.Detect(), {}),
        (ArgumentError, "no method", pictures, batch.Explain("gradcam2"), {}),
        (ArgumentError, "PNGs are written of", pictures, fc, {"sink": "png"}),
        (ArgumentError, "no sink", pictures, fc, {"sink": "csv"}),
        (CaffeError, "memory", pictures, fc, {"limits": Limits(memory=5000)}),
    ]:
        with pytest.raises(error, match=match):
            batch.run(model, weights, source, tmp_path / "out", task, **options)
        assert not (tmp_path / "out").exists()


def test_strict_stops_and_names_the_picture(tmp_path):
    model, weights, _ = made(tmp_path)
    with pytest.raises(DataError, match=r"picture \d+ \(b005.png\): .*no PNG"):
        batch.run(
            model, weights, tmp_path / "pictures", tmp_path / "out", batch.Blobs(("fc",)),
            batch=4, shard=4, workers=2, strict=True,
        )  # fmt: skip
    assert not multiprocessing.active_children()


def slow(net, data):
    """The blob, once as many workers were killed as half the number of the picture's shard says."""
    gate = Path(os.environ["CAFFEPY_TEST_GATE"])
    first = round(float(data[0, 0, 0, 0])) // SHARD
    while len(list(gate.iterdir())) * 2 < first:
        time.sleep(0.001)
    return {"fc": net.blobs["fc"].data[: len(data)].copy()}


SHARD, KILLS = 4, 20


def test_twenty_workers_killed_at_any_moment_change_no_row(tmp_path, monkeypatch):
    model, weights, _ = made(tmp_path, count=0)
    gate = tmp_path / "gate"
    gate.mkdir()
    monkeypatch.setenv("CAFFEPY_TEST_GATE", str(gate))
    monkeypatch.setattr("caffepy.batch.processes.DEATHS", KILLS + 1)  # chance may meet one shard again and again
    numbered(tmp_path / "numbered", SHARD * (2 * KILLS + 1))
    chance, over = random.Random(11), threading.Event()

    def kill():
        for i in range(KILLS):
            time.sleep(chance.uniform(0, 0.08))
            while not (children := multiprocessing.active_children()) and not over.is_set():
                time.sleep(0.001)
            if children:
                os.kill(chance.choice(children).pid, signal.SIGKILL)
            (gate / f"{i}").touch()

    options = {"batch": 2, "shard": SHARD, "workers": 2, "mean": "none"}
    given = model, weights, tmp_path / "numbered"
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        disturbed = batch.run(*given, tmp_path / "out", batch.Function(slow), **options)
    finally:
        over.set()
        killer.join()
    assert disturbed.deaths > KILLS // 2  # two may meet one worker
    whole = batch.run(*given, tmp_path / "whole", batch.Function(slow), **options)
    assert whole.deaths == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    assert len(files(tmp_path / "out")) == 2 * KILLS + 1
    assert {path.name for path in (tmp_path / "out").iterdir() if "part-" not in path.name} == {
        "_errors.csv", "_manifest.json", "_records", "_summary.json",
    }  # fmt: skip


def numbered(folder, count):
    """Pictures whose first value is their number."""
    from PIL import Image

    folder.mkdir()
    for i in range(count):
        pixels = np.full((12, 10, 3), 100, np.uint8)
        pixels[0, 0] = i
        Image.fromarray(pixels).save(folder / f"{i:03}.png")


def test_a_worker_killed_between_rows_and_record_does_its_shard_again(tmp_path, monkeypatch):
    model, weights, _ = made(tmp_path)
    record = Manifest.record

    def once(self, done):
        if done.number == 1 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        record(self, done)

    given = model, weights, tmp_path / "pictures"
    batch.run(*given, tmp_path / "whole", batch.Blobs(("fc",)), batch=4, shard=8, workers=1)
    monkeypatch.setattr(Manifest, "record", once)
    summary = batch.run(*given, tmp_path / "out", batch.Blobs(("fc",)), batch=4, shard=8, workers=2)
    assert summary.deaths == 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_picture_that_ends_every_worker_ends_the_run(tmp_path, monkeypatch):
    model, weights, _ = made(tmp_path)
    monkeypatch.setattr("caffepy.batch.worker.Worker.columns", lambda self, data: {"a": np.zeros(len(data))})
    monkeypatch.setattr(processes, "_shard", _killed)
    with pytest.raises(StateError, match="6 workers ended at shard 0, pictures 0 to 7"):
        batch.run(model, weights, tmp_path / "pictures", tmp_path / "out", batch.Blobs(("fc",)), shard=8, batch=8)


def _killed(number, part):
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    while not processes._given.stop.value:
        time.sleep(0.001)
