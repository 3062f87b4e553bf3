"""A small net trained from a database, by processes that mpiexec starts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import caffepy
from caffepy import data
from tests.shared import ROOT

NET = """
layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: TRAIN }}
        transform_param {{ scale: 0.0039 }} data_param {{ source: "db" batch_size: {batch} backend: LMDB }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" param {{ lr_mult: 1 }} param {{ lr_mult: 2 }}
        convolution_param {{ num_output: 4 kernel_size: 3 weight_filler {{ type: "gaussian" std: 0.3 }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "fc" type: "InnerProduct" bottom: "conv" top: "fc"
        inner_product_param {{ num_output: 3 weight_filler {{ type: "gaussian" std: 0.1 }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }}
"""
SOLVER = """
net: "{net}" base_lr: 0.05 momentum: 0.9 weight_decay: 0.01 lr_policy: "step" gamma: 0.5 stepsize: 3
random_seed: 4 snapshot_prefix: "{prefix}" solver_mode: CPU {more}
"""


def write(folder: Path, name: str, batch: int, more: str) -> str:
    """A solver's prototxt, whose net takes batches of that size from the database `db`."""
    if not (folder / "db").exists():
        chance = np.random.default_rng(2)
        with data.DatabaseWriter(folder / "db", "LMDB") as writer:
            for i in range(22):
                pixels = chance.integers(0, 256, (1, 8, 8), np.uint8)
                writer.put(f"{i:04}".encode(), caffepy.io.array_to_datum(pixels, i % 3).SerializeToString())
    (folder / f"{name}.net").write_text(NET.format(batch=batch))
    (folder / f"{name}.prototxt").write_text(SOLVER.format(net=f"{name}.net", prefix=name, more=more))
    return f"{name}.prototxt"


def mpiexec() -> str:
    """The program; skips the test where mpi4py or it is not there."""
    mpi4py = pytest.importorskip("mpi4py", reason="mpi4py, by which the processes talk, is not installed")
    places = [
        os.path.dirname(sys.executable),
        str(Path(mpi4py.__file__).parents[4] / "bin"),
        os.environ.get("PATH", ""),
    ]
    found = shutil.which("mpiexec", path=os.pathsep.join(places))
    if found is None:
        pytest.skip("there is no mpiexec")
    return found


def run(folder: Path, count: int, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`mpiexec -n COUNT python -m caffepy ...`, or without mpiexec for one."""
    command = [sys.executable, "-W", "error", "-m", "caffepy", *arguments]
    if count > 1:
        command = [mpiexec(), "--oversubscribe", "-n", str(count), *command]
    own = {"PYTHONPATH": str(ROOT), "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    everything = {**os.environ, **own, **environment}
    return subprocess.run(
        command, cwd=folder, env=everything, capture_output=True, text=True, timeout=240, check=False
    )  # fmt: skip


def weights(path: Path) -> list[np.ndarray]:
    """Of the net in a .caffemodel."""
    parameters = caffepy.proto.caffe_pb2.NetParameter.FromString(path.read_bytes())
    return [np.array(blob.data, np.float32) for layer in parameters.layer for blob in layer.blobs]
