"""`caffepy train` and `caffe train`: options, logs, signals, and training that is killed."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import caffepy
from caffepy.cli import main
from caffepy.solver.parse_log import parse_log
from tests.cli.test_caffe import run as caffe
from tests.shared import ROOT
from tests.solver.test_solver import NET, SOLVER

GLOG = re.compile(r"[IWE]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \S+:\d+\] ")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of processes that a test starts
    (tmp_path / "net.prototxt").write_text(NET)
    solver('max_iter: 4 display: 2 test_iter: 1 test_interval: 2 snapshot_prefix: "s"')
    return tmp_path


def solver(more: str) -> None:
    Path("solver.prototxt").write_text(f'net: "net.prototxt" {SOLVER.replace("max_iter: 100", "")} {more}')


def train(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["train", *arguments])


@pytest.mark.usefixtures("folder")
class TestTraining:
    def test_the_log_is_caffes(self) -> None:
        result = train("solver.prototxt", "--log", "log")
        assert result.exit_code == 0
        lines = [line for line in result.stderr.splitlines() if GLOG.match(line)]
        texts = [GLOG.sub("", line) for line in lines]
        for expected in (
            "Use CPU.",
            "Initializing solver from parameters: ",
            "Creating training net from net file: net.prototxt",
            "Creating test net (#0) specified by net file: net.prototxt",
            "Solver scaffolding done.",
            "Starting Optimization",
            "Solving small",
            "Learning Rate Policy: inv",
            "Iteration 0, Testing net (#0)",
            "Iteration 2, lr = 0.00999850",
            "Snapshotting to binary proto file s_iter_4.caffemodel",
            "Snapshotting solver state to binary proto file s_iter_4.solverstate",
            "Optimization Done.",
        ):
            assert any(text.startswith(expected[:25]) for text in texts), expected
        assert len([text for text in texts if re.match(r"    Train net output #0: loss = \S+ \(\* 1 = ", text)]) == 2
        assert [row["NumIters"] for row in parse_log("log").test] == [0, 2, 4]
        assert Path("log").read_text() == result.stderr

    def test_years_on_request(self) -> None:
        result = train("solver.prototxt", "--log-year")
        assert re.match(r"I20\d{6} ", result.stderr)

    def test_a_line_of_progress(self) -> None:
        result = train("solver.prototxt", "--progress")
        assert result.exit_code == 0
        assert "4/4" in result.stderr
        assert "waiting for data" in result.stderr
        assert "Test net output #0: loss = " in result.stderr
        assert not GLOG.search(result.stderr)

    def test_going_on_and_beginning_with_weights(self) -> None:
        assert train("solver.prototxt").exit_code == 0
        solver('max_iter: 6 snapshot_prefix: "t"')
        result = train("solver.prototxt", "--snapshot", "s_iter_4.solverstate")
        assert "Resuming from s_iter_4.solverstate" in result.stderr
        assert Path("t_iter_6.solverstate").exists()
        solver('max_iter: 0 snapshot_prefix: "u" weights: "none.caffemodel"')
        assert train("solver.prototxt", "--weights", "s_iter_4.caffemodel").exit_code == 0
        ours, theirs = (
            caffepy.Net("net.prototxt", 0, weights=f"{name}.caffemodel") for name in ("u_iter_0", "s_iter_4")
        )
        np.testing.assert_array_equal(ours.params["ip"][0].data, theirs.params["ip"][0].data)

    def test_the_originals_spelling(self) -> None:
        result = caffe("train", "--solver=solver.prototxt", "-sigint_effect", "snapshot", "-level=1", "-stage", "a,b")
        assert result.exit_code == 0
        assert 'stage: "a"' in result.stderr
        assert "level: 1" in result.stderr
        assert Path("s_iter_4.caffemodel").exists()

    def test_python_layers_must_be_allowed(self) -> None:
        layer = 'layer { name: "p" type: "Python" bottom: "conv" top: "p" python_param { module: "m" layer: "L" } }'
        Path("net.prototxt").write_text(NET + layer)
        result = train("solver.prototxt")
        assert result.exit_code == 1
        assert "would import the module 'm'" in result.output

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["solver.prototxt", "--snapshot", "a", "--weights", "b"], "but not both"),
            (["none.prototxt"], "none.prototxt: cannot be opened"),
            (["solver.prototxt", "--snapshot", "none.solverstate"], "none.solverstate: cannot be opened"),
            (["solver.prototxt", "--gpu", "first"], "--gpu 'first': give numbers such as 0 or 0,1, or all"),
            (["solver.prototxt", "--gpu", "0"], "with --cpu, training runs on the CPU"),
            (["solver.prototxt", "--log", "none/log"], "--log none/log: cannot be written"),
        ],
    )
    def test_what_is_wrong_is_one_message(self, arguments: list[str], message: str) -> None:
        result = train(*arguments)
        assert result.exit_code in (1, 2)
        assert message in result.output

    def test_a_fault_ends_the_log(self) -> None:
        solver("max_iter: 9")
        Path("solver.prototxt").write_text(Path("solver.prototxt").read_text().replace("0.01", "1e30"))
        result = train("solver.prototxt", "--log", "log")
        assert result.exit_code == 1
        assert "the loss is nan" in result.stderr
        assert re.search(r"^F\d{4} .*the loss is nan", Path("log").read_text(), re.MULTILINE)
        assert train("solver.prototxt", "--allow-nan").exit_code == 0


def started(*more: str) -> subprocess.Popen[str]:
    """A training run of its own, which has begun to iterate."""
    command = [sys.executable, "-m", "caffepy", "train", "solver.prototxt", "--log", "log", *more]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while not (Path("log").exists() and "Iteration 1 " in Path("log").read_text()):
        assert process.poll() is None, Path("log").read_text()
        time.sleep(0.01)
    return process


@pytest.mark.usefixtures("folder")
class TestSignals:
    def test_ctrl_c_writes_a_snapshot_and_stops(self) -> None:
        solver('max_iter: 1000000 display: 1 snapshot_prefix: "s"')
        process = started()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert "Optimization stopped early." in Path("log").read_text()
        (state,) = Path().glob("*.solverstate")
        assert Path(state.stem + ".caffemodel").exists()

    def test_a_hangup_writes_a_snapshot_and_goes_on(self) -> None:
        solver('max_iter: 1000000 display: 1 snapshot_prefix: "s"')
        process = started("--sigint-effect", "none")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGHUP)
        while not [*Path().glob("*.solverstate")]:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL

    def test_killed_at_any_moment(self) -> None:
        """Twenty times: every snapshot that is there is whole, and nothing else is."""
        solver('max_iter: 1000000 display: 1 snapshot: 1 snapshot_prefix: "s"')
        process, chance, last = started(), random.Random(1), 0
        for _ in range(20):
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
            process.wait(60)
            pairs = sorted(int(path.stem.partition("_iter_")[2]) for path in Path().glob("s_*.solverstate"))
            made = caffepy.get_solver("solver.prototxt")
            for iteration in pairs:
                made.restore(f"s_iter_{iteration}.solverstate")
                assert made.iter == iteration
            assert pairs[-1] >= last
            whole = {f"s_iter_{i}.{kind}" for i in (*pairs, pairs[-1] + 1) for kind in ("caffemodel", "solverstate")}
            assert {path.name for path in Path().iterdir()} <= whole | {"log", "net.prototxt", "solver.prototxt"}
            last = pairs[-1]
            for path in Path().glob("s_*"):
                if f"_{last}." not in path.name:
                    path.unlink()
            Path("log").unlink()
            process = self._resumed(last)
        process.kill()
        process.wait(60)

    @staticmethod
    def _resumed(iteration: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "caffepy", "train", "solver.prototxt", "--log", "log"]
        process = subprocess.Popen(
            [*command, "--snapshot", f"s_iter_{iteration}.solverstate"], stderr=subprocess.DEVNULL, text=True
        )
        while not (Path("log").exists() and "Snapshotting" in Path("log").read_text()):
            assert process.poll() is None
            time.sleep(0.01)
        return process


@pytest.mark.usefixtures("folder")
def test_a_full_disk_is_told_and_tried_again(folder: Path) -> None:
    """Of files that may not grow past some bytes the weights still fit, but not the state with its two histories."""
    solver('max_iter: 4 display: 1 snapshot: 2 snapshot_prefix: "s" type: "Adam"')
    limit = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (800, 800)); sys.argv = ['caffepy', 'train', 'solver.prototxt'];"
        "from caffepy.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", limit], capture_output=True, text=True)
    assert "no snapshot at iteration 2: s_iter_2" in done.stderr
    assert "no snapshot at iteration 4: s_iter_4" in done.stderr
    assert "File too large" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: s_iter_4.")  # nothing is saved at the end: that is an error
    assert done.returncode == 1
    assert [*folder.glob("s_*")] == []


@pytest.mark.usefixtures("folder")
def test_bad_records_are_left_out_on_request(folder: Path) -> None:
    from PIL import Image

    for i in range(4):
        Image.new("RGB", (4, 3), (i, 2 * i, 3 * i)).save(folder / f"{i}.png")
    (folder / "2.png").write_bytes(b"no picture")
    (folder / "list.txt").write_text("".join(f"{i}.png {i}\n" for i in range(4)))
    data = (
        'layer { name: "data" type: "ImageData" top: "data" top: "label"'
        ' image_data_param { source: "list.txt" batch_size: 3 } }'
    )
    Path("net.prototxt").write_text(f'name: "small" {data} {NET[NET.index("layer { name: " + chr(34) + "conv") :]}')
    solver('max_iter: 4 snapshot_prefix: "s"')
    assert train("solver.prototxt").exit_code == 1
    result = train("solver.prototxt", "--skip-bad-records")
    assert result.exit_code == 0
    assert re.search(r"layer 'data' .*: [1-9]\d* bad records were left out", result.stderr)
