"""proto/caffe.proto and what is generated from it."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from caffepy.proto import caffe_pb2
from tests.shared import ROOT

FACTS = ROOT / "tests" / "golden" / "caffe-schema.tsv"
LABELS = {Field.LABEL_OPTIONAL: "optional", Field.LABEL_REPEATED: "repeated", Field.LABEL_REQUIRED: "required"}
FORKS_FROM = 50000
Row = tuple[str, str, str, int, str, str, object, bool]


def default(text: str, type_name: str) -> object:
    """A default as a value, floats as float32; None for none."""
    if text == "":
        return None
    if type_name == "float":
        return np.float32(text)
    return text.lower() if type_name == "bool" else text


def facts() -> set[Row]:
    """What Caffe's schema says, row by row."""
    with FACTS.open(encoding="utf-8", newline="") as file:
        return {
            (
                row["kind"],
                row["message_or_enum"],
                row["field_or_value"],
                int(row["number"]),
                row["label"],
                row["type"],
                default(row["default"], row["type"]),
                row["packed"] == "yes",
            )
            for row in csv.DictReader(file, delimiter="\t")
        }


def embedded() -> set[Row]:
    """What the embedded descriptor says, as such rows."""
    file = FileDescriptorProto()
    caffe_pb2.DESCRIPTOR.CopyToProto(file)
    enums = [("", enum) for enum in file.enum_type]
    rows: set[Row] = set()
    for message in file.message_type:
        enums += [(f"{message.name}.", enum) for enum in message.enum_type]
        for field in message.field:
            kind = field.type_name.removeprefix(".caffe.") or Field.Type.Name(field.type)[len("TYPE_") :].lower()
            value = default(field.default_value, kind) if field.HasField("default_value") else None
            row = ("field", message.name, field.name, field.number, LABELS[field.label], kind, value)
            rows.add((*row, field.options.packed))
    for scope, enum in enums:
        rows |= {("enum", scope + enum.name, value.name, value.number, "", "", None, False) for value in enum.value}
    return rows


def test_every_field_and_enum_value_is_caffes_but_those_of_forks() -> None:
    caffes = {row[1] for row in facts()}
    assert {row for row in embedded() if row[1] in caffes and row[3] < FORKS_FROM} == facts()


def test_facts_are_all_there() -> None:
    assert len(facts()) == 534


def run_generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("grpc_tools", reason="needs protoc (grpcio-tools)")
    command = [sys.executable, "-W", "ignore", str(root / "proto" / "generate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_generated_files_are_fresh() -> None:
    done = run_generate(ROOT, "--check")
    assert done.returncode == 0, done.stderr


def test_check_names_a_stale_file_and_generating_mends_it(tmp_path: Path) -> None:
    (tmp_path / "proto").mkdir()
    (tmp_path / "caffepy" / "proto").mkdir(parents=True)
    for name in (
        "proto/caffe.proto",
        "proto/generate.py",
        "caffepy/proto/_descriptor.py",
        "caffepy/proto/caffe_pb2.pyi",
    ):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    schema = tmp_path / "proto" / "caffe.proto"
    schema.write_text(schema.read_text(encoding="utf-8").replace("swish_param = 147", "swish_param = 149"))
    stale = run_generate(tmp_path, "--check")
    assert stale.returncode == 1
    assert "_descriptor.py is out of date" in stale.stderr
    assert "caffe_pb2.pyi" not in stale.stderr
    assert run_generate(tmp_path).returncode == 0
    assert run_generate(tmp_path, "--check").returncode == 0
