"""Layers that users write in Python, in pycaffe's way: `type: "Python"`."""

import importlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np

from caffepy.blob import Arrays, Blob, BlobVec, Shape
from caffepy.layer import Layer, register
from caffepy.limits import in_force
from caffepy.proto.caffe_pb2 import LayerParameter


class Phase(IntEnum):
    """What a layer's `phase` is: the number, as in pycaffe; its `str` is the name, as in the pycaffe of Fast R-CNN."""

    TRAIN = 0
    TEST = 1

    def __str__(self) -> str:
        return self.name


class PythonLayer:
    """pycaffe's `caffe.Layer`: the base of classes that a prototxt names as `python_param { module, layer }`.

        class Double(caffe.Layer):
            def setup(self, bottom, top): ...           # once
            def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)        # before each forward
            def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data
            def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = 2 * top[0].diff

    `bottom` and `top` are lists of blobs on the host. Forward, too, may reshape its tops.
    """

    param_str: str
    """What the prototxt says in `python_param { param_str }`; `param_str_`, its old name, is the same."""
    param_str_: str
    phase: Phase
    """caffe.TRAIN or caffe.TEST."""
    blobs: BlobVec
    """Weights: `self.blobs.add_blob(64, 3)` in setup, then fill `self.blobs[0].data`."""

    def __init__(self, param: LayerParameter | None = None) -> None:
        self.blobs = BlobVec()

    @property
    def type(self) -> str:
        """As in the prototxt."""
        return "Python"

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Read the parameters, add the weights."""

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Give the tops their shapes."""

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Write the tops' data."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(self, bottom, top)")

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        """Write the diffs of the bottoms whose propagate_down is true, add to the weights' diffs."""
        raise NotImplementedError(f"{type(self).__name__} has no backward(self, top, propagate_down, bottom)")


@register("Python", bottoms=(0, None), tops=(0, None))
class Python(Layer):
    """Any bottoms -> the tops that the class `python_param { layer }` of `module` makes (pycaffe: python_layer.hpp)."""

    host = True
    in_place = True

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        param = self.param.python_param
        self.own: PythonLayer = self._class()(self.param)
        self.own.param_str = self.own.param_str_ = param.param_str
        self.own.phase = Phase(self.phase)
        if not hasattr(self.own, "blobs"):  # an __init__ that calls no other
            self.own.blobs = BlobVec()
        self.blobs = self.own.blobs
        self._tops = [Blob() for _ in self.param.top]
        self.own.setup([Blob(shape) for shape in bottom_shapes], self._tops)
        self.param_propagate_down = [True] * len(self.blobs)

    @property
    def shown(self) -> PythonLayer:
        """The user's object, as in pycaffe."""
        return self.own

    def _class(self) -> Any:
        param = self.param.python_param
        if not param.module or not param.layer:
            raise self.error("give python_param { module and layer }: the module's name and the class's in it")
        with self.named():
            in_force().check_module(param.module)
        try:
            module = importlib.import_module(param.module)
        except SyntaxError as error:
            raise self.error(
                f"python_param: module {param.module!r} is not Python 3 but, it seems, Python 2 "
                f"({error.filename}, line {error.lineno}: {error.msg}); convert it: "
                f"caffepy run --convert --in-place {error.filename}"
            ) from error
        except ImportError as error:
            raise self.error(
                f"python_param: module {param.module!r} cannot be imported ({error}); put its folder on sys.path, by "
                "PYTHONPATH for example"
            ) from error
        if not hasattr(module, param.layer):
            raise self.error(f"python_param: module {param.module!r} ({module.__file__}) has no class {param.layer!r}")
        found = getattr(module, param.layer)
        if not (isinstance(found, type) and issubclass(found, PythonLayer)):
            raise self.error(
                f"python_param: {param.layer!r} of module {param.module!r} ({module.__file__}) is no class that "
                "descends from caffe.Layer"
            )
        return found

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        self.own.reshape([Blob(shape) for shape in bottom_shapes], self._tops)
        return [top.shape for top in self._tops]

    def fill(self, index: int) -> None:
        """Nothing: `setup` has filled the weights."""

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> Sequence[Shape]:
        bottoms, tops = _blobs(bottom), _blobs(top)
        self.own.reshape(bottoms, tops)
        self.own.forward(bottoms, tops)
        return [blob.shape for blob in tops]

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        kept = [np.copy(blob.diff) for blob in self.blobs if not any(self.param_propagate_down)]
        self.own.backward(_blobs(top), list(propagate_down), _blobs(bottom))
        for blob, diff in zip(self.blobs, kept, strict=False):
            blob.diff[...] = diff


def _blobs(arrays: Sequence[Arrays]) -> list[Blob]:
    return [each.blob() for each in arrays]
