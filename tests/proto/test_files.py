"""Opening, recognising and replacing files."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from caffepy.errors import CaffeError, MissingFileError, ProtoError
from caffepy.proto.files import kind_of, open_binary, replacing


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "empty"),
        (b"\x89HDF\r\n\x1a\n\x00", "hdf5"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "git-lfs pointer"),
        (b"\x1f\x8b\x08", "gzip archive"),
        (b"PK\x03\x04", "zip archive"),
        (b'name: "net"\r\n\tlayer {}\x0c', "text"),
        ("# Größe, 大小".encode(), "text"),
        ("# Größe".encode("latin-1"), "text"),
        ('name: "net"'.encode("utf-16"), "text"),
        (b"\n\x03toy\xa2\x06\x1a\n\x01x", "binary"),
    ],
)
def test_kinds_are_told_by_content(head: bytes, kind: str) -> None:
    assert kind_of(head) == kind


def test_a_missing_file_is_an_error_scripts_expect(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(MissingFileError, match=r"cannot be opened \(.*\); looked at /") as caught:
            open_binary(path)
        assert isinstance(caught.value, RuntimeError | FileNotFoundError)


def write_half(target: Path) -> None:
    with replacing(target) as beside:
        Path(beside).write_text("half")
        raise ZeroDivisionError


def test_replacing_keeps_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_half(target)
    assert target.read_text() == "old"
    with replacing(target) as beside:
        Path(beside).write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


def test_replacing_follows_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    with replacing(tmp_path / "link") as beside:
        Path(beside).write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_failing_disk_and_a_missing_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(ProtoError, match=r"file: cannot be written: .*No space"), replacing(tmp_path / "file"):
        raise OSError(28, "No space left on device")
    with (
        pytest.raises(MissingFileError, match=r"there is no folder .*gone; make it first"),
        replacing(tmp_path / "gone/f"),
    ):
        pass
    assert issubclass(MissingFileError, CaffeError)


def test_replacing_works_where_no_file_is_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    target, names = tmp_path / "file", set()
    for text in ("old", "new"):
        with replacing(target) as beside:
            names.add(beside)
            Path(beside).write_text(text)
        assert target.read_text() == text
    assert len(names) == 2
    with pytest.raises(ZeroDivisionError):
        write_half(target)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux has files without a name")
def test_a_process_killed_while_it_writes_leaves_nothing(tmp_path: Path) -> None:
    text = (
        "import os, signal, sys; from caffepy.proto.files import replacing\n"
        "with replacing(sys.argv[1]) as beside:\n"
        "    open(beside, 'w').write('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", text, str(tmp_path / "file")]).returncode == -9
    assert os.listdir(tmp_path) == []


def test_what_killed_writers_have_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not what somebody writes now, nor what is young, nor another's file, nor what a link leads to."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    mine, other = tmp_path / f"file.{'0' * 16}.part", tmp_path / f"file2.{'0' * 16}.part"
    link, young = tmp_path / f"file.{'1' * 16}.part", tmp_path / f"file.{'2' * 16}.part"
    for path in (mine, other, young):
        path.write_text("half")
    link.symlink_to(other)
    with replacing(tmp_path / "file") as beside:
        for path in tmp_path.iterdir():
            if path != young:
                os.utime(path, (0, 0), follow_symlinks=False)
        with replacing(tmp_path / "file") as second:
            Path(second).write_text("second")
        assert Path(beside).exists()
        Path(beside).write_text("first")
    assert (tmp_path / "file").read_text() == "first"
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "file", other, link, young])


def test_a_name_as_long_as_names_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    target = tmp_path / ("\u00e9" * 127)
    for text in ("old", "new"):
        with replacing(target) as beside:
            Path(beside).write_text(text)
        assert target.read_text() == text


def test_replacing_keeps_permissions(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    target.chmod(0o640)
    with replacing(target) as beside:
        Path(beside).write_text("new")
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("new", 0o640)


def test_a_device_or_pipe_is_written_to_as_what_it_is(tmp_path: Path) -> None:
    with replacing("/dev/null") as beside:
        Path(beside).write_text("nothing")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with replacing(pipe) as beside, open(beside, "wb") as file:
        file.write(b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_nul_is_in_no_path() -> None:
    with pytest.raises(MissingFileError, match="is no path"), replacing("a\0b"):
        raise AssertionError
    with pytest.raises(MissingFileError, match="is no path"):
        open_binary("a\0b")


def test_pipes_and_devices_are_no_sources(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(MissingFileError, match="is no regular file but a pipe or device"):
            open_binary(path)
