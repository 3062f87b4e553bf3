"""pycaffe's calling habits over the net, and the process-wide functions of its module."""

from caffepy.net.param_diffs import set_param_diffs
from caffepy.pycaffe.logs import quiet_as_glog
from caffepy.pycaffe.net import Net, NotComputedWarning
from caffepy.pycaffe.process import (
    Timer,
    has_nccl,
    init_log,
    log,
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)

__all__ = [
    "Net",
    "NotComputedWarning",
    "Timer",
    "has_nccl",
    "init_log",
    "log",
    "quiet_as_glog",
    "set_multiprocess",
    "set_param_diffs",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
]
