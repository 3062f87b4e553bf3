"""pycaffe's NCCL on emulated GPUs, its library stood in for: two GPUs give the weights of one at twice the batch."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import ArgumentError, DeviceError
from caffepy.parallel.nccl import connected
from tests.cuda_on_cpu import unavailable
from tests.parallel import jobs
from tests.shared import ROOT

pytest.importorskip("lmdb", reason="lmdb, which writes the database, is not installed")
emulated = pytest.mark.skipif(bool(unavailable()), reason=f"no emulated GPU: {unavailable()}")

SITE = """
import sys
if "caffepy" in " ".join(sys.orig_argv) or "spawn_main" in " ".join(sys.orig_argv) or "script.py" in sys.orig_argv:
    from tests.parallel import standin
    standin.install()
"""
# what python/train.py of Caffe does
SCRIPT = """
from multiprocessing import Process
import sys
import caffe

def solve(proto, gpus, uid, rank):
    caffe.set_mode_gpu()
    caffe.set_device(gpus[rank])
    caffe.set_solver_count(len(gpus))
    caffe.set_solver_rank(rank)
    caffe.set_multiprocess(True)
    solver = caffe.SGDSolver(proto)
    nccl = caffe.NCCL(solver, uid)
    nccl.bcast()
    solver.add_callback(nccl)
    if solver.param.layer_wise_reduce:
        solver.net.after_backward(nccl)
    solver.step(solver.param.max_iter)
    if rank == 0:
        solver.snapshot()

if __name__ == "__main__":
    gpus = [0, 1]
    uid = caffe.NCCL.new_uid()
    caffe.init_log()
    caffe.log('Using devices %s' % str(gpus))
    procs = [Process(target=solve, args=(sys.argv[1], gpus, uid, rank)) for rank in range(len(gpus))]
    for p in procs:
        p.daemon = True
        p.start()
    for p in procs:
        p.join()
"""


def run(folder, *command, more=""):
    (folder / "sitecustomize.py").write_text(SITE + more)
    paths = os.pathsep.join([str(folder), str(ROOT), str(ROOT / "caffepy/_alias")])
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env={**os.environ, "PYTHONPATH": paths},
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip


def alone(folder):
    name = jobs.write(folder, "alone", 8, "max_iter: 4")
    assert jobs.run(folder, 1, "train", name).returncode == 0
    return jobs.weights(folder / "alone_iter_4.caffemodel")


@emulated
def test_two_gpus_give_the_weights_of_one_at_twice_the_batch(tmp_path):
    name = jobs.write(tmp_path, "several", 4, "max_iter: 4").replace("CPU", "GPU")
    done = run(tmp_path, "-m", "caffepy", "train", name, "--gpu", "0,1")
    assert done.returncode == 0, done.stderr
    for found, wanted in zip(jobs.weights(tmp_path / "several_iter_4.caffemodel"), alone(tmp_path), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@emulated
def test_caffes_own_script_runs(tmp_path):
    jobs.write(tmp_path, "several", 4, "max_iter: 4 layer_wise_reduce: true")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run(tmp_path, "script.py", "several.prototxt")
    assert done.returncode == 0, done.stderr
    assert "Using devices [0, 1]" in done.stderr
    for found, wanted in zip(jobs.weights(tmp_path / "several_iter_4.caffemodel"), alone(tmp_path), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@emulated
def test_a_gpus_process_that_dies_ends_the_others_and_is_named(tmp_path):
    name = jobs.write(tmp_path, "several", 4, "max_iter: 100000")
    killing = """
import os, signal
import caffepy.solver.solver as solver
from caffepy.device.ranks import solver_rank
iterate = solver.Solver._iterate
def once(self):
    if self.iter == 2 and solver_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return iterate(self)
solver.Solver._iterate = once
"""
    (tmp_path / "killing.py").write_text(killing)
    done = run(tmp_path, "-m", "caffepy", "train", name, "--gpu", "0,1", more="    import killing\n")
    assert done.returncode == 1
    assert re.search("Error: rank 1 of 2, on GPU 1, was ended by signal 9; all others end, too", done.stderr)


def test_it_needs_a_gpu_and_a_rank():
    with pytest.raises(DeviceError, match="call set_device and set_mode_gpu first"):
        connected((1,), 0, 2)
    with pytest.raises(ArgumentError, match="solver_rank 2 of solver_count 2"):
        connected((1,), 2, 2)
    if not caffe.has_nccl():
        with pytest.raises(DeviceError, match="NCCL, which adds up over GPUs, cannot be loaded"):
            caffe.NCCL.new_uid()
