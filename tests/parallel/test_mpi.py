"""Training on processes that mpiexec starts: the weights of one process at as many times the batch."""

import os
import re

import numpy as np
import pytest

from tests.parallel import jobs

pytest.importorskip("lmdb", reason="lmdb, which writes the database, is not installed")

TOLERANCE = 1e-5


def close(found, wanted):
    assert [one.shape for one in found] == [one.shape for one in wanted]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("count", "more"),
    [
        (2, ""),
        (2, "layer_wise_reduce: true"),
        (3, "iter_size: 2 layer_wise_reduce: true clip_gradients: 0.5"),
        (2, 'type: "Adam" momentum2: 0.99 delta: 1e-4'),
    ],
)
def test_processes_give_the_weights_of_one_at_as_many_times_the_batch(count, more, tmp_path):
    several = jobs.write(tmp_path, "several", 4, f"max_iter: 8 {more}")
    alone = jobs.write(tmp_path, "alone", 4 * count, f"max_iter: 8 {more}")
    together = jobs.run(tmp_path, count, "train", several)
    assert together.returncode == 0, together.stderr
    assert jobs.run(tmp_path, 1, "train", alone).returncode == 0
    close(*(jobs.weights(tmp_path / f"{name}_iter_8.caffemodel") for name in ("several", "alone")))
    assert len(re.findall("Optimization Done", together.stderr)) == 2  # of solver.cpp and caffe.cpp, by one rank


def test_a_snapshot_goes_on_with_another_number_of_processes(tmp_path):
    """Records come from the first again after a snapshot, whatever the number of processes."""
    first = jobs.write(tmp_path, "first", 4, "max_iter: 5")
    assert jobs.run(tmp_path, 2, "train", first).returncode == 0
    then = jobs.write(tmp_path, "then", 8, "max_iter: 9")
    assert jobs.run(tmp_path, 1, "train", then, "--snapshot", "first_iter_5.solverstate").returncode == 0
    again = jobs.write(tmp_path, "again", 4, "max_iter: 9")
    assert jobs.run(tmp_path, 2, "train", again, "--snapshot", "first_iter_5.solverstate").returncode == 0
    close(*(jobs.weights(tmp_path / f"{name}_iter_9.caffemodel") for name in ("again", "then")))


DIES = """
import os, signal
import caffepy.solver.solver as solver
iterate = solver.Solver._iterate
def once(self):
    if self.iter == 3 and os.environ["OMPI_COMM_WORLD_RANK"] == "1":
        {how}
    return iterate(self)
solver.Solver._iterate = once
"""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", r"rank 1 .*exited on\s+signal 9"),
        ("raise solver.SolverError('no more')", "rank 1 of 2 ends, and all others with it: no more"),
        ("raise MemoryError('full')", r"(?s)rank 1 of 2 ends, and all others with it: Traceback.*full"),
    ],
)
def test_one_that_dies_ends_the_others_and_is_named(how, message, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(DIES.format(how=how))
    name = jobs.write(tmp_path, "dying", 4, "max_iter: 1000000")
    paths = os.pathsep.join([str(tmp_path), str(jobs.ROOT)])
    done = jobs.run(tmp_path, 2, "train", name, PYTHONPATH=paths)
    assert done.returncode != 0
    assert re.search(message, done.stderr), done.stderr
