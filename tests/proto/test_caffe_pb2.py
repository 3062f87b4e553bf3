"""The message classes: complete, picklable, and at peace with another caffe_pb2 in the process."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message

from caffepy.proto import caffe_pb2
from caffepy.proto._descriptor import FILE
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter, PoolingParameter, V1LayerParameter
from tests.shared import ROOT

FOREIGN = '''
"""What protoc generates for a caffe.proto, registered in protobuf's common pool."""
from google.protobuf import descriptor_pool
from google.protobuf.internal import builder

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile({file!r})
builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())
builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, "foreign_pb2", globals())
'''
BESIDE = """
import pickle, sys
{imports}
ours = caffe_pb2.NetParameter(name="n", layer=[caffe_pb2.LayerParameter(name="l", phase=caffe_pb2.TEST)])
theirs = foreign_pb2.NetParameter.FromString(ours.SerializeToString())
assert type(theirs) is not type(ours) and theirs.layer[0].name == "l"
assert pickle.loads(pickle.dumps(ours)) == ours and pickle.loads(pickle.dumps(theirs)) == theirs
"""


def net() -> NetParameter:
    pool = PoolingParameter(pool=PoolingParameter.AVE, kernel_size=3)
    return NetParameter(name="net", layer=[LayerParameter(name="pool1", type="Pooling", pooling_param=pool)])


@pytest.mark.parametrize(
    "message", [net(), net().layer[0], net().layer[0].pooling_param], ids=lambda m: type(m).__name__
)
def test_messages_pickle_and_copy(message: Message) -> None:
    for again in (pickle.loads(pickle.dumps(message)), copy.copy(message), copy.deepcopy(message)):
        assert again == message
        assert type(again) is type(message)


def test_names_are_what_protoc_generates() -> None:
    for descriptor in caffe_pb2.DESCRIPTOR.message_types_by_name.values():
        message = getattr(caffe_pb2, descriptor.name)
        assert (message.__module__, message.__qualname__) == ("caffepy.proto.caffe_pb2", descriptor.name)
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST, caffe_pb2.Phase.Name(1)) == (0, 1, "TEST")
    assert V1LayerParameter.LayerType.Value("CONCAT") == V1LayerParameter.CONCAT == 3
    assert NetParameter.LAYER_FIELD_NUMBER == 100
    assert caffe_pb2._V1LAYERPARAMETER_LAYERTYPE.values_by_name["DATA"].number == 5  # type: ignore[attr-defined]
    assert caffe_pb2._LAYERPARAMETER is LayerParameter.DESCRIPTOR  # type: ignore[attr-defined]


def test_nothing_goes_into_the_common_pool() -> None:
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("caffe.NetParameter")


@pytest.mark.parametrize("implementation", ["upb", "python"])
@pytest.mark.parametrize("name", ["caffe.proto", "caffe/proto/caffe.proto"])
@pytest.mark.parametrize("first", ["foreign", "ours"])
def test_lives_beside_a_foreign_caffe_pb2(tmp_path: Path, first: str, name: str, implementation: str) -> None:
    file = FileDescriptorProto.FromString(FILE)
    file.name = name
    (tmp_path / "foreign_pb2.py").write_text(FOREIGN.format(file=file.SerializeToString()), encoding="utf-8")
    imports = ["import foreign_pb2", "from caffepy.proto import caffe_pb2"]
    script = BESIDE.format(imports="\n".join(imports if first == "foreign" else imports[::-1]))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)]),
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation,
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
