"""Any layer, any parameters, any data: nets drawn from the table of types and the schema, run on drawn values.

Nothing here names a layer: how many bottoms a type takes is in the table, which messages it reads is in its module's
text, and their fields are the schema's. So a new layer is tried as soon as it is registered.
"""

import functools
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

import caffepy as caffe
from caffepy.filler import FILLERS
from caffepy.layer import TYPES, Layer
from caffepy.limits import Limits
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import BlobShape, LayerParameter, NetParameter
from tests.fuzz.draw import Draw

VALUES = 0.0, 0.5, -1.0, 1.0, 1.9999999, 3.0, 1e-40, 1e30, 2.0**31, 2.0**40, np.inf, -np.inf, np.nan
"""What labels, numbers of boxes, indices and pixels may be."""
LIMITS = Limits(allowed=(), memory=64 << 20, work=10**9)
"""What a drawn net may do."""
NOT_DRAWN = {"Python"}
"""Its code is the user's."""


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether the field is a list: older versions of protobuf say so by its label only."""
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED


_EXTENTS = 1, 2, 3, 4, 4, 5, 8, 1, 2, 3, 4, 6, 7, 0, 9, 16
_NUMBERS = 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 16, 100, 2**31 - 1, 10**9, 2**32 - 1, -1, -2, -(2**31), 10**5, 255, 2
_FLOATS = 0.5, 1.0, 0.0, 2.0, 0.1, -1.0, 3.0, 16.0, 1e-30, 1e30, 3.4e38, -0.5, np.inf, -np.inf, np.nan, 1e-3
_TEXTS = "", "a", "/etc/passwd", "/dev/zero", "/nonexistent", "d0", "\n\x00\x1b[31m", "cafe\u0301"
_INTEGERS = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}
_NATURALS = {FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64}
_REALS = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}
_MESSAGES = {field.name for field in LayerParameter.DESCRIPTOR.fields if field.message_type and not is_repeated(field)}


@functools.cache
def messages_of(type_name: str) -> list[str]:
    """The fields of LayerParameter that the type's module speaks of, and one that it does not."""
    modules = {cls.__module__: inspect.getmodule(cls) for cls in TYPES[type_name].__mro__ if cls is not Layer}
    text = "".join(inspect.getsource(module) for module in modules.values() if module and "layers" in module.__name__)
    return [name for name in sorted(_MESSAGES) if re.search(rf"\b{name}\b", text)] or ["transform_param"]


@functools.cache
def seeds() -> list[NetParameter]:
    """Small nets that run, of most types."""
    lines = (Path(__file__).parent / "seeds/nets.txt").read_text("utf-8").splitlines()
    return [prototxt.parse(line, NetParameter) for line in lines]


def seeds_of(*types: str) -> NetParameter:
    """The first seed of each of these types, of one net: their inputs and blobs get names of their own."""
    net = NetParameter()
    for i, name in enumerate(types):
        for layer in next(seed for seed in seeds() if name in (layer.type for layer in seed.layer)).layer:
            added = net.layer.add()
            added.CopyFrom(layer)
            added.name += f"_{i}"
            for blobs in (added.bottom, added.top):
                blobs[:] = [f"{blob}_{i}" for blob in blobs]
    return net


def drawn(data: bytes) -> tuple[NetParameter, Draw]:
    """The net of an input, and what is left to decide: one in four is made from nothing, others are seeds changed."""
    draw = Draw(data)
    if draw.one_in(4):
        return _from_nothing(draw), draw
    net = NetParameter()
    net.CopyFrom(seeds()[draw.below(1 << 16) % len(seeds())])
    for _ in range(draw.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        _change(draw, net)
    return net, draw


def _change(draw: Draw, net: NetParameter) -> None:
    """Change an input's shape, a layer's settings, or what a layer reads, or put a layer behind."""
    what, layer = draw.below(10), draw.choice(net.layer)
    if what < 4:
        inputs = [shape for each in net.layer for shape in each.input_param.shape] or [BlobShape()]
        dim = draw.choice(inputs).dim
        if len(dim) and not draw.one_in(6):
            dim[draw.below(len(dim))] = draw.choice(_EXTENTS)
        elif len(dim) and draw.one_in(2):
            del dim[draw.below(len(dim))]
        else:
            dim.insert(draw.below(len(dim) + 1), draw.choice(_EXTENTS))
    elif what < 8:
        _settings(draw, layer, draw.one_in(3))
    elif what == 8 and layer.bottom:
        layer.bottom[draw.below(len(layer.bottom))] = draw.choice([top for each in net.layer for top in each.top])
    else:
        _append(draw, net, [top for each in net.layer for top in each.top])


def _from_nothing(draw: Draw) -> NetParameter:
    net = NetParameter(force_backward=draw.one_in(2))
    known: list[str] = []
    for _ in range(1 + draw.one_in(4) + draw.one_in(8)):
        _append(draw, net, known)
    return net


def _append(draw: Draw, net: NetParameter, known: list[str]) -> None:
    """A layer of any type, on blobs that are known and on new inputs; its tops are known from then on."""
    name, place = draw.choice(sorted(set(TYPES) - NOT_DRAWN)), len(net.layer)
    layer = LayerParameter(name=f"L{place}", type=name)
    for j in range(_number(draw, TYPES[name].bottoms)):
        if known and (j == 0 or draw.one_in(8)):
            layer.bottom.append(draw.choice(known[-2:]))
        else:
            layer.bottom.append(_input(draw, net, f"d{place}_{j}", j))
    tops = len(layer.bottom) if TYPES[name].same_number else _number(draw, TYPES[name].tops)
    layer.top.extend(f"t{place}_{j}" for j in range(tops))
    if layer.top and layer.bottom and draw.one_in(6):
        layer.top[0] = layer.bottom[0]
    known += layer.top
    _settings(draw, layer, True)
    net.layer.append(layer)


def _number(draw: Draw, arity: Any) -> int:
    fewest, most = arity if isinstance(arity, tuple) else (arity, arity)
    if draw.one_in(40):
        return draw.below(4)
    return fewest + draw.below((fewest + 2 if most is None else most) - fewest + 1)


def _input(draw: Draw, net: NetParameter, name: str, place: int) -> str:
    """A new Input layer, in front of all others: its top."""
    before = [layer for layer in net.layer if layer.input_param.shape]
    shape = [draw.choice(_EXTENTS) for _ in range(draw.choice((4, 4, 4, 4, 4, 2, 2, 3, 1, 5, 0, 6)))]
    if place and before and not draw.one_in(3):  # labels, boxes and images of one batch go together
        first = list(before[-1].input_param.shape[0].dim)
        like = draw.below(5)
        shape = [first, first[:1], first[:2], [*first[:1], 1, *first[2:]], [draw.choice(_EXTENTS), 5]][like]
    layer = LayerParameter(name=name, type="Input", top=[name])
    layer.input_param.shape.add(dim=shape)
    net.layer.insert(len(before), layer)
    return name


def _settings(draw: Draw, layer: LayerParameter, many: bool) -> None:
    """Give fields of the messages that the layer reads values: many of them, or one."""
    names = messages_of(layer.type) if layer.type in TYPES else sorted(_MESSAGES)
    for name in names if many else [draw.choice(names)]:
        if many and draw.one_in(3):
            continue
        message = getattr(layer, name)
        fields = message.DESCRIPTOR.fields
        few = len(fields) if many else 1
        for _ in range(1 + draw.below(max(1, few // 2))):
            set_field(draw, message, draw.choice(fields), 0)
    if draw.one_in(8):
        layer.param.add(lr_mult=draw.choice(_FLOATS))
    if draw.one_in(8):
        layer.loss_weight.extend(draw.choice(_FLOATS) for _ in layer.top)
    if draw.one_in(12):
        layer.propagate_down.extend(draw.one_in(2) for _ in layer.bottom)


def set_field(draw: Draw, message: Message, field: FieldDescriptor, depth: int) -> None:
    """Give the field a value, or add one where it is a list."""
    if field.message_type is not None:
        if depth < 3:
            inner = getattr(message, field.name)
            inner = inner.add() if is_repeated(field) else inner
            for each in field.message_type.fields:
                if draw.one_in(2):
                    set_field(draw, inner, each, depth + 1)
    elif is_repeated(field):
        values = getattr(message, field.name)
        if len(values) and draw.one_in(2):
            del values[:]
        values.extend(_value(draw, field) for _ in range(draw.choice((1, 2, 1, 3, 2, 4))))
    else:
        setattr(message, field.name, _value(draw, field))


def _value(draw: Draw, field: FieldDescriptor) -> Any:
    kind = field.cpp_type
    if field.enum_type is not None:
        return draw.choice([value.number for value in field.enum_type.values])
    if kind in _REALS:
        return draw.choice(_FLOATS)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return draw.one_in(2)
    if kind == FieldDescriptor.CPPTYPE_STRING:
        if field.name == "type" and field.containing_type.name == "FillerParameter":
            return draw.choice([*sorted(FILLERS), "nosuch"])
        text = draw.choice(_TEXTS)
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    small = draw.choice(_NUMBERS) if draw.one_in(3) else draw.choice(_NUMBERS[:8])
    if kind in _NATURALS:
        return abs(small) % 2**32
    return min(small, 2**31 - 1)


def fill(draw: Draw, net: caffe.Net) -> None:
    """Put drawn values into the net's inputs, and into its weights, as a file would."""
    chance = np.random.default_rng(draw.byte())
    blobs = [net.blobs[name] for name in net.inputs]
    if draw.one_in(4):
        blobs += [blob for each in net.params.values() for blob in each]
    for blob in blobs:
        data, value, pattern = blob.data, draw.choice(VALUES), draw.below(6)
        if pattern < 2:
            data[...] = chance.standard_normal(data.shape)
        elif pattern == 2:
            data[...] = chance.integers(-1, 4, data.shape)
        elif pattern == 3:
            data[...] = value
        else:
            data[...] = chance.standard_normal(data.shape) if pattern == 4 else chance.integers(0, 9, data.shape)
            data[chance.random(data.shape) < 0.2] = value


def run(data: bytes) -> None:
    """Build the net of an input and run it: forward, backward, gradient, after new data and a new shape too."""
    param, draw = drawn(data)
    caffe.set_cpu_engine(draw.choice(("numpy", "auto")))
    with caffe.Net(param, draw.choice((caffe.TEST, caffe.TRAIN)), limits=LIMITS) as net:
        _passes(draw, net)
        _passes(draw, net)
        if net.inputs and draw.one_in(2):
            blob = net.blobs[draw.choice(net.inputs)]
            shape = [draw.choice(_EXTENTS) if draw.one_in(2) else extent for extent in blob.shape]
            blob.reshape(*shape)
            _passes(draw, net)


def _passes(draw: Draw, net: caffe.Net) -> None:
    fill(draw, net)
    net.forward()
    if draw.one_in(2):
        net.backward()
    if draw.one_in(2):
        net.gradient({name: np.ones(net.blobs[name].shape, np.float32) for name in net.outputs})


def shown(data: bytes) -> str:
    """The net of an input, as a prototxt."""
    return prototxt.format(drawn(data)[0])
