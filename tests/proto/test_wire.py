"""The wire format, against protobuf's own encoder."""

import io
import os
from pathlib import Path

import pytest
from google.protobuf.internal import encoder

from caffepy.errors import ProtoError, StateError
from caffepy.proto.caffe_pb2 import BlobProto, LayerParameter, SolverParameter
from caffepy.proto.wire import FIXED32, LENGTH, VARINT, Source, field_at, prefix, varint


def source(folder: Path, data: bytes) -> Source:
    (folder / "data").write_bytes(data)
    return Source(open(folder / "data", "rb", buffering=0), "data")


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31 - 1, 2**31, 2**40, 2**63])
def test_varint_is_protobufs(value: int) -> None:
    out = io.BytesIO()
    encoder._EncodeVarint(out.write, value)  # type: ignore[attr-defined]
    assert varint(value) == out.getvalue()


def test_prefix_is_protobufs() -> None:
    layer = LayerParameter(name="x" * 300)
    assert prefix(LayerParameter.NAME_FIELD_NUMBER, 300) + b"x" * 300 == layer.SerializeToString()


def test_fields_of_every_kind(tmp_path: Path) -> None:
    solver = SolverParameter(test_iter=[100000], base_lr=0.5, net="train.prototxt")
    data = solver.SerializeToString()
    opened, at, found = source(tmp_path, data), 0, []
    while at < len(data):
        field = field_at(opened, at, len(data))
        found.append((field.number, field.kind, bytes(opened.read(field.value, field.stop))))
        at = field.stop
    assert found == [
        (SolverParameter.TEST_ITER_FIELD_NUMBER, VARINT, b"\xa0\x8d\x06"),
        (SolverParameter.BASE_LR_FIELD_NUMBER, FIXED32, b"\x00\x00\x00\x3f"),
        (SolverParameter.NET_FIELD_NUMBER, LENGTH, b"train.prototxt"),
    ]
    opened.close()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x0a\x05abc", "byte 0: field 1 needs 5 bytes and 3 are left"),
        (b"\x08\x80", "byte 0: a number is cut off"),
        (b"\x80" * 12, "byte 0: a number is cut off or too long"),
        (b"\x02\x00", "byte 0: expected a field's number, found 0"),
        (b"\x0b\x0c", "byte 0: field 1 has wire type 3"),
        (b"\x0d\x00\x00", "byte 0: field 1 needs 4 bytes and 2 are left"),
    ],
)
def test_damage_is_told_with_its_place(tmp_path: Path, data: bytes, says: str) -> None:
    opened = source(tmp_path, data)
    with pytest.raises(ProtoError, match=says):
        field_at(opened, 0, len(data))
    opened.close()


def test_a_field_may_not_leave_its_message(tmp_path: Path) -> None:
    data = BlobProto(num=1).SerializeToString() + b"\x00" * 50
    opened = source(tmp_path, data)
    with pytest.raises(ProtoError, match="a number is cut off"):
        field_at(opened, 0, 1)
    opened.close()


def test_far_jumps_and_back(tmp_path: Path) -> None:
    data = os.urandom(100_000)
    opened = source(tmp_path, data)
    for at in (0, 99_990, 5, 50_000, 16_384, 16_380, 99_999):
        assert opened.peek(at, min(20, len(data) - at)) == data[at : at + 20]
        assert opened.read(at, len(data)) == data[at:]
    opened.close()


def test_a_closed_source_says_so(tmp_path: Path) -> None:
    opened = source(tmp_path, b"abc")
    opened.close()
    opened.close()
    with pytest.raises(StateError, match="data: the file is closed"):
        opened.read(0, 1)


def test_a_file_that_shrinks_raises(tmp_path: Path) -> None:
    opened = source(tmp_path, bytes(50_000))
    os.truncate(tmp_path / "data", 30_000)
    with pytest.raises(ProtoError, match="byte 30000: the file ends here, 15000 bytes short, and was 50000 bytes long"):
        opened.read(20_000, 45_000)
    opened.close()
