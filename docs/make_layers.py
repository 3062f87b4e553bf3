"""Writes docs/layers.md from the registry: `python docs/make_layers.py`, with --check only compares.

What a type takes is read from its class, its operations from the calls in the class's text, its parameters from the
messages that the text reads.
"""

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import FieldDescriptor

import caffepy.layers
from caffepy.device import source
from caffepy.kernels import ALL, Kernel
from caffepy.layer import TYPES, Arity, Layer
from caffepy.proto.caffe_pb2 import LayerParameter

TARGET = Path(__file__).with_name("layers.md")
HEAD = """# Layers

Every type that a prototxt may name, written by `python docs/make_layers.py` from the code. *top* is `top[0]`, *bottom*
is `bottom[0]`; a blob's *diff* is the loss's derivative with respect to it. Parameters stand with their defaults,
where they have some. **CPU, GPU**: every operation has a NumPy and a CUDA body; **host**: the layer's work is done on
the host in GPU mode, too. Every CUDA body gives the same bits each time it runs on the same GPU; types that draw random
numbers say so, and repeat them after `caffepy.set_random_seed`.
"""


def main() -> None:
    text = f"{HEAD}\n{_contents()}\n" + "\n".join(_chapter(room) for room in _rooms())
    if "--check" in sys.argv[1:]:
        if TARGET.read_text(encoding="utf-8") != text:
            sys.exit("docs/layers.md is not what the code says: run python docs/make_layers.py")
    else:
        TARGET.write_text(text, encoding="utf-8")


def _rooms() -> dict[str, list[str]]:
    """The types of each room of `caffepy/layers/`."""
    rooms: dict[str, list[str]] = {room.name: [] for room in pkgutil.iter_modules(caffepy.layers.__path__)}
    for name in sorted(TYPES, key=str.lower):
        rooms[TYPES[name].__module__.split(".")[2]].append(name)
    return {room: names for room, names in rooms.items() if names}


def _contents() -> str:
    rows = [f"| [{room}](#{room}-layers) | {' · '.join(map(_link, names))} |" for room, names in _rooms().items()]
    return "\n".join(["| | |", "|---|---|", *rows, ""])


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _chapter(room: str) -> str:
    told = inspect.cleandoc(importlib.import_module(f"caffepy.layers.{room}").__doc__ or "")
    sections = [_section(name, TYPES[name]) for name in _rooms()[room]]
    return "\n".join([f"## {room.capitalize()} layers", "", told, "", *sections])


def _section(name: str, cls: type[Layer]) -> str:
    text = "\n".join(inspect.getsource(base) for base in _own_classes(cls))
    lines = [f"### {name}", "", inspect.cleandoc(cls.__doc__ or ""), ""]
    runs = "host" if cls.host else "CPU, GPU"
    facts = [f"bottoms {_arity(cls.bottoms)}", f"tops {_arity(cls.tops)}", runs]
    facts += ["may run in place"] if cls.in_place else []
    facts += ["a loss: loss_weight 1"] if cls.is_loss else []
    facts += ["tops' shapes depend on the data"] if cls.dynamic else []
    facts += ["draws random numbers"] if re.search(r"\brng\b|draw_seed|seed", text) else []
    lines += [f"*{'; '.join(facts)}; `{_path(cls)}`*", ""]
    for message in sorted(set(re.findall(r"param\.(\w+_param)\b", text))):
        lines += [*_parameters(message), ""]
    own = [op for op in ALL.values() if op.twin.__module__ == cls.__module__]
    if operations := list(_operations(text)) or own:
        lines += ["| operation | gives | kernel |", "|---|---|---|"]
        lines += [f"| `{op.name}` | {_cell(op.__doc__)} | `{_kernel(op.file)}` |" for op in operations]
        lines.append("")
    return "\n".join(lines)


def _kernel(file: str) -> str:
    return source.files()[file].relative_to(source.folder()).as_posix()


def _own_classes(cls: type[Layer]) -> list[type]:
    return [base for base in cls.__mro__ if base.__module__.startswith("caffepy.layers.")]


def _path(cls: type[Layer]) -> str:
    return cls.__module__.replace(".", "/") + ".py"


def _arity(arity: Arity) -> str:
    if isinstance(arity, int):
        return str(arity)
    fewest, most = arity
    return f"{fewest} or more" if most is None else f"{fewest} to {most}"


def _parameters(name: str) -> list[str]:
    field = LayerParameter.DESCRIPTOR.fields_by_name.get(name)
    if field is None or field.message_type is None:
        return []
    rows = [f"| `{f.name}` | {_kind(f)} | {_default(f)} |" for f in field.message_type.fields]
    return [f"| `{name}` | kind | default |", "|---|---|---|", *rows]


def _kind(field: FieldDescriptor) -> str:
    names = {FieldDescriptor.CPPTYPE_BOOL: "bool", FieldDescriptor.CPPTYPE_STRING: "text"}
    kind = names.get(field.cpp_type, "whole number")
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        kind = "number"
    if field.enum_type is not None:
        kind = ", ".join(value.name for value in field.enum_type.values)
    if field.message_type is not None:
        kind = field.message_type.name
    return f"{kind}, any number" if _repeated(field) else kind


def _repeated(field: FieldDescriptor) -> bool:
    return field.is_repeated if hasattr(type(field), "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED


def _default(field: FieldDescriptor) -> str:
    if _repeated(field) or field.message_type is not None or not field.has_default_value:
        return ""
    if field.enum_type is not None:
        return field.enum_type.values_by_number[field.default_value].name
    if isinstance(field.default_value, float):
        return f"{field.default_value:.6g}"
    return str(field.default_value)


def _operations(text: str) -> Iterator[Kernel[...]]:
    for name in dict.fromkeys(re.findall(r"\b(\w+)\(", text)):
        if name in ALL:
            yield ALL[name]


def _cell(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
