"""Whoever looks, whenever, finds the old file or the new one, whole: killed writers, full disks, two writers."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from caffepy.data.writer import DatabaseWriter
from caffepy.errors import CaffeError
from tests.fuzz.writers import KINDS, TRIALS
from tests.shared import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="trials fork, which this system cannot")


@pytest.mark.parametrize("trial", sorted(TRIALS))
def test_trial(trial):
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.fuzz.writers", trial]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | threads)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KB, where this process may mount one."""
    where = tmp_path / "disk"
    where.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", where], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    yield where
    subprocess.run(["umount", where], check=True)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_disk_that_is_full(kind, small_disk):
    path = small_disk / kind
    path.write_text("old")
    with open(small_disk / "rest", "wb", buffering=0) as rest, contextlib.suppress(OSError):
        while rest.write(bytes(4096)):
            pass
    with pytest.raises(CaffeError, match=f"{kind}.*No space left on device"):
        KINDS[kind](os.fspath(path), 1)
    assert path.read_text() == "old"
    assert sorted(os.listdir(small_disk)) == sorted([kind, "rest"])
    (small_disk / "rest").unlink()
    KINDS[kind](os.fspath(path), 1)
    assert path.stat().st_size > 3


def test_a_database_that_a_killed_run_has_left(tmp_path):
    """Its folder is removed by the next run, but not while somebody writes it."""
    pytest.importorskip("lmdb", reason="lmdb, which writing an LMDB needs, is not installed")
    with DatabaseWriter(tmp_path / "db", "LMDB") as first:
        first.put(b"key", b"first")
        (used,) = os.listdir(tmp_path)
        left = tmp_path / "db.0123456789abcdef.part"
        left.mkdir()
        (left / "data.mdb").write_bytes(b"half")
        (tmp_path / "db.0123456789abcdef.part.mine").mkdir()
        for path in tmp_path.iterdir():
            os.utime(path, (0, 0))
        second = DatabaseWriter(tmp_path / "db", "LMDB")
        assert not left.exists()
        assert (tmp_path / used).exists()
        assert (tmp_path / "db.0123456789abcdef.part.mine").exists()
    second.put(b"key", b"second")
    with pytest.raises(CaffeError, match="cannot be put in its place"), second:
        pass
    assert sorted(os.listdir(tmp_path)) == ["db", "db.0123456789abcdef.part.mine"]


def test_names_beside_are_no_links_that_are_followed(tmp_path, monkeypatch):
    """Where files must have names: somebody foresees the name of the new one, and has put a link there."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    monkeypatch.setattr(os, "urandom", bytes)
    (tmp_path / "victim").write_text("victim's")
    (tmp_path / f"x.svg.{'0' * 16}.part").symlink_to("victim")
    with pytest.raises(CaffeError, match=r"x\.svg: cannot be written: .*File exists"):
        KINDS["x.svg"](os.fspath(tmp_path / "x.svg"), 1)
    assert (tmp_path / "victim").read_text() == "victim's"
    assert not (tmp_path / "x.svg").exists()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_devices_are_written_to_as_what_they_are(kind, tmp_path):
    name = f"device{Path(kind).suffix}"
    (tmp_path / name).symlink_to("/dev/null")
    KINDS[kind](os.fspath(tmp_path / name), 1)
    assert os.path.islink(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(CaffeError, match=f"{name}.*No space left on device"):
        KINDS[kind](os.fspath(tmp_path / name), 1)
