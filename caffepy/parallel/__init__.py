"""Training on several devices, one process for each: docs/training.md.

    mpiexec -n 4 caffepy train solver.prototxt
    caffe train -solver solver.prototxt -gpu 0,1

`mean` averages gradients over a `group` of processes; `mpi` and `nccl` are such groups.
"""

from caffepy.parallel.group import Group
from caffepy.parallel.mean import GradientMean
from caffepy.parallel.mpi import MpiGroup
from caffepy.parallel.nccl import NCCL

__all__ = ["NCCL", "GradientMean", "Group", "MpiGroup"]
