"""What forks of Caffe added to the schema, kept out of binary files, where their numbers mean something else."""

from collections.abc import Iterator, Sequence

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from caffepy.proto.caffe_pb2 import LayerParameter

_FORKS_FROM = 50000  # numbers of fields and of enum values, in every message that is Caffe's own
_TYPES = """
    AbsVal Accuracy ArgMax BatchNorm BatchReindex Bias BNLL Clip Concat ContrastiveLoss Convolution Crop Data
    Deconvolution Dropout DummyData ELU Eltwise Embed EuclideanLoss Exp Filter Flatten HDF5Data HDF5Output HingeLoss
    Im2col ImageData InfogainLoss InnerProduct Input Log LRN LSTM LSTMUnit MVN MemoryData MultinomialLogisticLoss
    PReLU Parameter Pooling Power Python RNN ReLU Reduction Reshape SPP Scale Sigmoid SigmoidCrossEntropyLoss Silence
    Slice Softmax SoftmaxWithLoss Split Swish TanH Threshold Tile WindowData
"""
_CAFFE_TYPES = frozenset(_TYPES.split())


def reads_settings(layer: LayerParameter) -> bool:
    """Whether a binary file's settings of the layer mean what the schema says.

    They do for Caffe's own types; forks gave the same numbers to the settings of theirs.
    """
    return layer.type in _CAFFE_TYPES


def has_fork_fields(message: Message) -> bool:
    """Whether the message, or one inside it, has a field or value that a fork added."""
    return any(True for _ in _fork_fields(message))


def clear_fork_fields(message: Message) -> None:
    """Remove them."""
    for owner, name in list(_fork_fields(message)):
        owner.ClearField(name)


def _fork_fields(message: Message) -> Iterator[tuple[Message, str]]:
    for field, value in message.ListFields():
        values = value if isinstance(value, Sequence) else [value]
        numbers = [field.number, *values] if field.type == FieldDescriptor.TYPE_ENUM else [field.number]
        if max(numbers) >= _FORKS_FROM:
            yield message, field.name
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in values:
                yield from _fork_fields(inner)
