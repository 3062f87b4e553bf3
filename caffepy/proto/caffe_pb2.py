"""Caffe's messages and enums: what protoc would generate, built from the embedded descriptor in a pool of its own.

The own pool lets a second caffe_pb2 (the user's, or real Caffe's) live in the same process.
"""

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

from caffepy.proto._descriptor import FILE

_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(FILE)
DESCRIPTOR = _pool.FindFileByName("caffe.proto")


def _descriptor_name(descriptor: Descriptor | EnumDescriptor) -> str:
    """The global that protoc gives a descriptor, such as _SOLVERPARAMETER_SOLVERTYPE."""
    return "_" + descriptor.full_name.removeprefix("caffe.").replace(".", "_").upper()


def _message_class(descriptor: Descriptor) -> type[Message]:
    """The class of a message type, named so that pickle finds it."""
    message = message_factory.GetMessageClass(descriptor)
    message.__module__ = __name__
    message.__qualname__ = descriptor.full_name.removeprefix("caffe.")
    for enum in descriptor.enum_types:
        globals()[_descriptor_name(enum)] = enum
    for nested in descriptor.nested_types:
        setattr(message, nested.name, _message_class(nested))
    globals()[_descriptor_name(descriptor)] = descriptor
    return message


for _enum in DESCRIPTOR.enum_types_by_name.values():
    globals()[_descriptor_name(_enum)] = _enum
    globals()[_enum.name] = EnumTypeWrapper(_enum)
    globals().update((value.name, value.number) for value in _enum.values)
for _message in DESCRIPTOR.message_types_by_name.values():
    globals()[_message.name] = _message_class(_message)
