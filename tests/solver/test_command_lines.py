"""Command lines of real Caffe, repeated: log, files written and weights; settings at which it stopped."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from caffepy.cli import main
from caffepy.cli.caffe import _translated
from caffepy.proto.caffe_pb2 import NetParameter
from tests.solver import golden

FOLDER = golden.FOLDERS["solver_runs"]
NUMBERS = golden.numbers("solver_runs")
COMMANDS = {key.partition("/")[0]: str(value) for key, value in NUMBERS.items() if key.endswith("/command")}
RUNS = [run for run in COMMANDS if run != "caffe_test"]
PREFIX = re.compile(r"[IWEF]\d{4} \S+ +\d+ (\S+)\] ")
OURS_TOO = re.compile(r"(solver|sgd_solver|caffe)\.cpp|net\.cpp:(593|605|621|632|721)")
NUMBER = re.compile(r"([-+]?\d[\d.]*(?:e[-+]?\d+)?)")
EDGES = json.loads((FOLDER / "edges.json").read_text())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def caffe(command: str, *more: str) -> tuple[int, str]:
    """Its exit code and what it logged, errors included."""
    translated = _translated(command.split()[1:])
    result = CliRunner().invoke(main, [translated[0], *more, *translated[1:]])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def said(log: str) -> list[str]:
    """The lines that ours and Caffe's have in common, without times."""
    found = [(PREFIX.match(line), line) for line in log.splitlines()]
    return [untimed(line[match.end() :]) for match, line in found if match and OURS_TOO.match(match[1])]


def untimed(line: str) -> str:
    return re.sub(r"\(\S+ iter/s, \S+s/", "(", line)


ZERO = 5e-8
"""A bias before BatchNorm has a diff that is 0 but for rounding: in these nets a sum of 6 x 36 terms of about 9e-4,
which one rounding each, of 2^-24, brings to 1.2e-8; Caffe's order of adding them is another."""


def assert_alike(ours: list[str], theirs: list[str]) -> None:
    """Words alike; numbers to the six digits that are logged, and to ZERO."""
    assert [NUMBER.sub("#", line) for line in ours] == [NUMBER.sub("#", line) for line in theirs]
    for line, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(*([float(x) for x in NUMBER.findall(text)] for text in (line, expected)), 2e-5, ZERO)


@pytest.mark.parametrize("run", RUNS)
def test_log_files_and_weights(run: str, folder: Path) -> None:
    found = NUMBERS
    for path in folder.glob(f"{run}_iter_*"):
        path.unlink()
    code, log = caffe(COMMANDS[run])
    assert code == 0
    assert_alike(said(log), said((FOLDER / f"{run}.log").read_text()))
    assert sorted(path.name for path in folder.glob(f"{run}_iter_*")) == sorted(found[f"{run}/files_written"].tolist())
    for key, expected in found.items():
        if match := re.match(rf"{run}/iter(\d+)/(\w+)/(\d)$", key):
            if match[1] == "0":
                continue
            net = NetParameter()
            net.ParseFromString((folder / f"{run}_iter_{match[1]}.caffemodel").read_bytes())
            blob = next(layer for layer in net.layer if layer.name == match[2]).blobs[int(match[3])]
            largest = max(abs(expected).max(), 1e-3)
            np.testing.assert_allclose(np.array(blob.data), expected.ravel(), atol=1e-5 * largest, rtol=0, err_msg=key)


@pytest.mark.parametrize("name", ["snapshots_iter_3", "snapshots_iter_7"])
def test_snapshots_have_the_fields_of_caffes(name: str, folder: Path) -> None:
    (folder / f"{name}.caffemodel").unlink()
    caffe("caffe train --solver=snapshots.solver.prototxt --weights=init.caffemodel")
    ours, theirs = NetParameter(), NetParameter()
    ours.ParseFromString((folder / f"{name}.caffemodel").read_bytes())
    theirs.ParseFromString((FOLDER / f"{name}.caffemodel").read_bytes())
    for net in (ours, theirs):
        for layer in net.layer:
            for blob in layer.blobs:
                blob.ClearField("data")
    assert ours == theirs


def test_a_test_says_what_caffes_says() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(FOLDER)
        code, text = caffe(COMMANDS["caffe_test"])
    assert code == 0
    expected = [line for line in said((FOLDER / "caffe_test.log").read_text()) if "=" in line or "Loss" in line]
    assert_alike([line for line in text.splitlines() if "=" in line or "Loss" in line], expected)


NEEDS_NAN = {"iter_size_0", "nan_loss_continues"}
"""What Caffe goes on with though every number is NaN: here it takes --allow-nan."""
MESSAGES = {
    "no_lr_policy": "lr_policy: '' is not given; give one of",
    "unknown_lr_policy": "lr_policy: 'cosine' is unknown",
    "unknown_type": "there is no solver 'Lion'",
    "type_and_solver_type": "both solver_type (ADAM) and type ('Adam')",
    "adagrad_with_momentum": "momentum: 0.9 cannot be used with AdaGrad",
    "rmsprop_with_momentum": "momentum: 0.9 cannot be used with RMSProp",
    "rmsprop_decay_1": "rms_decay: 1; give at least 0 and less than 1",
    "unknown_regularization": "regularization_type: 'L3' is unknown; give L1 or L2",
    "no_net": "found none of them",
    "net_and_train_net": "found net and train_net",
    "net_file_missing": "nosuch.prototxt: cannot be opened",
    "test_iter_without_test_interval": "test_interval is 0; give 1 or more",
    "test_net_without_test_iter": "0 test_iter for 1 test net(s)",
    "too_many_test_iter": "2 test_iter for 1 test net(s)",
    "test_state_count_differs": "1 test_state for 2 test net(s)",
    "snapshot_prefix_not_writable": "snapshot_prefix: 'nosuchdir/x': cannot write there",
    "weights_and_snapshot": "but not both",
    "weights_file_missing": "nosuch.caffemodel: cannot be opened",
    "snapshot_missing": "nosuch.solverstate: cannot be opened",
    "snapshot_of_another_type": "holds 15 history blobs, this solver has 30",
    "unknown_field": "nosuch_field",
    "shared_lr_mult_differs": "share param 'w' with different lr_mult: 1 and 2",
    "shared_decay_mult_differs": "share param 'w' with different decay_mult: 1 and 2",
    "shared_shape_differs": "'q' has shape (6, 4), bottom 'p' has (6, 3)",  # which the loss finds first
    "shared_share_mode_permissive_count_differs": "'q' has shape (6, 4), bottom 'p' has (6, 3)",
    "batchnorm_lr_mult_given": "lr_mult",
}


@pytest.mark.parametrize("edge", EDGES, ids=[edge["name"] for edge in EDGES])
def test_edges(edge: dict[str, object], folder: Path) -> None:
    """Where Caffe works, so do we, and write the same files; where it stops, an error says why."""
    (folder / "edge.prototxt").write_text(str(edge["solver"]))
    for name, text in dict(edge["files"]).items():
        (folder / name).write_text(text)
    name = str(edge["name"])
    code, log = caffe(str(edge["command"]), *["--allow-nan"] * (name in NEEDS_NAN))
    assert (code == 0) == (edge["returncode"] == 0), log
    if code:
        assert MESSAGES[name] in log
    else:
        assert sorted(path.name for path in folder.glob("edge_iter*")) == edge["files_written"]
        theirs = [
            untimed(line.partition("] ")[2]) for line in edge["last_lines"] if "loss =" in line and "nan" not in line
        ]
        ours = said(log)
        for line in theirs:
            match = next(other for other in ours if NUMBER.sub("#", other) == NUMBER.sub("#", line))
            assert_alike([match], [line])


@pytest.mark.parametrize("edge", [edge for edge in EDGES if edge["name"] in NEEDS_NAN], ids=sorted(NEEDS_NAN))
def test_nan_stops_where_it_is_not_allowed(edge: dict[str, object], folder: Path) -> None:
    (folder / "edge.prototxt").write_text(str(edge["solver"]))
    code, log = caffe(str(edge["command"]))
    assert code == 1
    assert "iter_size: 0" in log or "the loss is nan" in log


def test_a_seed_trains_caffes_own_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fillers draw Caffe's numbers, the database gives its batches: 60 iterations later the log is the same."""
    shutil.copytree(FOLDER.parent / "train", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for path in tmp_path.glob("tiny*"):
        path.unlink()
    code, log = caffe("caffe train --solver=solver.prototxt")
    assert code == 0
    assert_alike(said(log), said((tmp_path / "train_log.txt").read_text()))
    for name in ("tiny_iter_30.caffemodel", "tiny_iter_60.caffemodel"):
        ours, theirs = NetParameter(), NetParameter()
        ours.ParseFromString((tmp_path / name).read_bytes())
        theirs.ParseFromString((FOLDER.parent / "train" / name).read_bytes())
        for layer, expected in zip(ours.layer, theirs.layer, strict=True):
            for blob, other in zip(layer.blobs, expected.blobs, strict=True):
                largest = max(np.abs(other.data))
                np.testing.assert_allclose(blob.data, other.data, atol=1e-5 * largest, rtol=0, err_msg=layer.name)
                blob.CopyFrom(other)
        assert ours == theirs
