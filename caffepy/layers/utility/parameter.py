"""Parameter: a learned blob by itself."""

from collections.abc import Sequence

from caffepy.blob import Arrays, Shape
from caffepy.layer import Layer, register
from caffepy.layers.basis.elementwise import copy_backward, copy_forward
from caffepy.proto.caffe_pb2 import FillerParameter


@register("Parameter", bottoms=0, tops=1)
class Parameter(Layer):
    """Nothing -> a weight of parameter_param's shape, zeros unless weights are loaded (Caffe: parameter_layer.hpp).

    Its diff is the top's: each backward pass overwrites it.
    """

    reads = param_reads = ()

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        shape = tuple(self.param.parameter_param.shape.dim)
        if min(shape, default=0) < 0:
            raise self.error(f"shape {shape}: every dim must be at least 0")
        self.add_weights(shape, FillerParameter())

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return [self.blobs[0].shape]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        copy_forward(self.params[0].data, top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        if self.param_propagate_down[0]:
            copy_backward(top[0].diff, self.params[0].diff)
