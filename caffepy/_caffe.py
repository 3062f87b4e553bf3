"""What pycaffe's compiled module `caffe._caffe` has: the same classes and functions, and its vectors as lists."""

from typing import Any

import caffepy
from caffepy.blob import Blob, BlobVec
from caffepy.proto.caffe_pb2 import LayerParameter, SolverParameter
from caffepy.solver import Solver

__all__ = ["Blob", "BlobVec", "LayerParameter", "Solver", "SolverParameter"]

BoolVec = DtypeVec = IntVec = LayerVec = NetVec = RawBlobVec = StringVec = list


def __getattr__(name: str) -> Any:
    return getattr(caffepy, name)
