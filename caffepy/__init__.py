"""Caffe models and pycaffe scripts on today's Python: forward, backward, gradients of anything.

The names are pycaffe's: `import caffepy as caffe`, or `import caffe` where no other Caffe is installed.
"""

import importlib
from typing import TYPE_CHECKING, Any

from caffepy import io, layers, proto
from caffepy.classifier import Classifier
from caffepy.detector import Detector
from caffepy.device import set_device
from caffepy.device.engine import cpu_engine, set_cpu_engine
from caffepy.device.ranks import set_solver_count, set_solver_rank, solver_count, solver_rank
from caffepy.device.threads import set_threads
from caffepy.kernels.precision import set_precision
from caffepy.layer import layer_type_list, register
from caffepy.layers.utility.python import PythonLayer as Layer
from caffepy.net.param_diffs import set_param_diffs
from caffepy.net_spec import NetSpec, params, to_proto
from caffepy.proto.caffe_pb2 import TEST, TRAIN
from caffepy.pycaffe import Net, NotComputedWarning
from caffepy.pycaffe.explaining import (
    RelPropOpts,
    set_mode_cpu,
    set_mode_dc_cpu,
    set_mode_dc_gpu,
    set_mode_eb_cpu,
    set_mode_eb_gpu,
    set_mode_gpu,
)
from caffepy.pycaffe.logs import quiet_as_glog
from caffepy.pycaffe.process import (
    Timer,
    has_nccl,
    init_log,
    log,
    set_multiprocess,
)
from caffepy.rng import set_random_seed

if TYPE_CHECKING:
    from caffepy import dnn
    from caffepy.parallel import NCCL
    from caffepy.solver import (
        AdaDeltaSolver,
        AdaGradSolver,
        AdamSolver,
        NesterovSolver,
        RMSPropSolver,
        SGDSolver,
        get_solver,
    )

__version__ = "1.0.0rc1"

__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Classifier",
    "Detector",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "NotComputedWarning",
    "RMSPropSolver",
    "RelPropOpts",
    "SGDSolver",
    "Timer",
    "cpu_engine",
    "dnn",
    "get_solver",
    "has_nccl",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "params",
    "proto",
    "register",
    "set_cpu_engine",
    "set_device",
    "set_mode_cpu",
    "set_mode_dc_cpu",
    "set_mode_dc_gpu",
    "set_mode_eb_cpu",
    "set_mode_eb_gpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_param_diffs",
    "set_precision",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "set_threads",
    "solver_count",
    "solver_rank",
    "to_proto",
]

quiet_as_glog()


_LATE = {"dnn": "", "parallel": "", "rules": "", "solver": "", "NCCL": "parallel"} | dict.fromkeys(
    (name for name in __all__ if "solver" in name.lower() and name not in globals()), "solver"
)
"""What is loaded when it is first used, and the module that it is in; a module of that name where none is given."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"caffepy.{_LATE[name] or name}")
    globals()[name] = found = getattr(module, name) if _LATE[name] else module
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
