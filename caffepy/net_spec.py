"""pycaffe's net_spec: nets written in Python and turned into NetParameter messages.

from caffe import layers as L, params as P

n = caffe.NetSpec()
n.data = L.Input(shape=dict(dim=[1, 3, 224, 224]))
n.conv1 = L.Convolution(n.data, num_output=64, kernel_size=3, weight_filler=dict(type="xavier"))
n.pool1 = L.Pooling(n.conv1, pool=P.Pooling.MAX, kernel_size=2, stride=2)
n.to_proto()
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, SupportsIndex

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from caffepy.errors import ArgumentError, UnknownBlobError, UnknownFieldError, nearest
from caffepy.layer import TYPES
from caffepy.proto import caffe_pb2
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter, ParamSpec

_FIELDS = LayerParameter.DESCRIPTOR.fields_by_name
_HOLDERS = [
    (name, field.message_type) for name, field in _FIELDS.items() if field.message_type and name.endswith("_param")
]
_SETTINGS: dict[str, list[tuple[str, Any]]] = {}
"""The fields that may hold the settings of a layer type, and their messages, by the type in small letters.

First that whose message has the type's name, as in pycaffe: norm_param is a NormalizeParameter; then that named so.
"""
for _field, _message in _HOLDERS:
    _own = _message.name.removesuffix("Parameter")
    if _field.removesuffix("_param").replace("_", "") == _own.lower() or _own.lower() not in _SETTINGS:
        _SETTINGS[_own.lower()] = [(_field, _message)]
for _field, _message in _HOLDERS:
    _known = _SETTINGS.setdefault(_field.removesuffix("_param").replace("_", ""), [])
    _known.extend([(_field, _message)] * ((_field, _message) not in _known))
_KINDS = {
    FieldDescriptor.CPPTYPE_BOOL: "True or False",
    FieldDescriptor.CPPTYPE_STRING: "a string",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_MESSAGE: "a dict of its fields",
}
_WHOLE = {
    *(FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64),
    *(FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64),
}


def param_name_dict() -> dict[str, str]:
    """Layer type -> the field of LayerParameter with its settings, without `_param`: {"InnerProduct": "inner_product"}.

    As in pycaffe the type is read from the field's message (InnerProductParameter), and some are no layer types.
    """
    names: dict[str, str] = {}
    for _, message in _HOLDERS:
        name = message.name.removesuffix("Parameter")
        names.setdefault(name, _SETTINGS[name.lower()][0][0].removesuffix("_param"))
    return names


def assign_proto(proto: Message, name: str, val: Any) -> None:
    """Set a field of a message: a dict is a message, an iterable a repeated field, one value for that a list of one.

    Where whole numbers are expected, 4.0 is 4, as `8 / 2` gives it; where strings are, so are paths.
    Raises UnknownFieldError where the message, or one within it, has no such field, ArgumentError where `val` is not
    of the field's type.
    """
    field = proto.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        known = proto.DESCRIPTOR.fields_by_name
        raise UnknownFieldError(f"{proto.DESCRIPTOR.name} has no field {name!r}{nearest(name, known)}")
    target = getattr(proto, name)
    val = val.tolist() if isinstance(val, np.ndarray) else val
    try:
        if hasattr(target, "extend"):
            single = isinstance(val, str | bytes | Mapping | Message) or not isinstance(val, Iterable)
            for each in [val] if single else val:
                if isinstance(each, Mapping) and hasattr(target, "add"):
                    _assign_all(target.add(), each)
                else:
                    target.append(_plain(field, each))
        elif isinstance(val, Mapping) and isinstance(target, Message):
            _assign_all(target, val)
        else:
            setattr(proto, name, _plain(field, val))
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ArgumentError | UnknownFieldError):
            raise
        raise ArgumentError(f"{proto.DESCRIPTOR.name}.{name} takes {_kind(field)}, got {val!r}") from error


def _plain(field: Any, value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and value.is_integer() and field.cpp_type in _WHOLE:
        return int(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _assign_all(proto: Message, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        assign_proto(proto, name, value)


def _kind(field: Any) -> str:
    if field.enum_type:
        return " or ".join(value.name for value in field.enum_type.values)
    return _KINDS.get(field.cpp_type, "a whole number within its range")


class Top:
    """One blob that a layer writes: its top number `n`."""

    def __init__(self, fn: "Function", n: int) -> None:
        self.fn = fn
        self.n = n

    def to_proto(self) -> NetParameter:
        """The layers that this blob needs."""
        return to_proto(self)


class Function:
    """A layer: its type, the blobs it reads and its settings, among them `ntop` (1) and `in_place` (False).

    Any type is taken, also one that only another Caffe has: `Function("Sinkhorn", (n.conv1,), {}).tops[0]`.
    Raises ArgumentError where an input is no Top.
    """

    def __init__(self, type_name: str, inputs: Iterable[Top], params: Mapping[str, Any]) -> None:
        self.type_name = type_name
        self.inputs = tuple(inputs)
        self.params = dict(params)
        self.ntop: int = self.params.pop("ntop", 1)
        self.in_place: bool = self.params.pop("in_place", False)
        for i, given in enumerate(self.inputs):
            if not isinstance(given, Top):
                raise ArgumentError(f"{type_name} input {i} is not a Top (type is {type(given)})").advise(
                    f"give what L.SomeLayer(...) returns, each by itself where that is several: L.{type_name}(*tops)"
                )
        if not isinstance(self.ntop, SupportsIndex) or self.ntop.__index__() < 0:
            raise ArgumentError(f"{type_name}: ntop is {self.ntop!r}; expected how many blobs the layer writes")
        self.tops = tuple(Top(self, n) for n in range(self.ntop))


def to_proto(*tops: Top | Function) -> NetParameter:
    """The net of all layers that these need, layers and blobs named by type and number: Convolution1."""
    return _net(tops, {})


class NetSpec:
    """A net whose layers and blobs are named by the attributes they are assigned to.

    A layer of several tops is assigned to as many, `n.data, n.label = L.Data(..., ntop=2)`, and has the name of the
    first; a layer without tops is assigned itself. `n.tops` holds them all by name.
    """

    tops: dict[str, Top | Function]

    def __init__(self) -> None:
        object.__setattr__(self, "tops", {})

    def __setattr__(self, name: str, value: Top | Function) -> None:
        if not isinstance(value, Top | Function):
            several = isinstance(value, tuple) and all(isinstance(top, Top) for top in value)
            raise ArgumentError(
                f"n.{name}: expected what one layer returns, such as L.ReLU(...), got "
                + (f"{len(value)} tops: give each a name, n.a, n.b = ..." if several else repr(value))
            )
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        tops = self.__dict__.get("tops", {})
        if name not in tops:
            raise AttributeError(f"this NetSpec has no {name!r}{nearest(name, tops)}")
        return tops[name]

    def __setitem__(self, name: str, value: Top | Function) -> None:
        self.__setattr__(name, value)

    def __getitem__(self, name: str) -> Any:
        if name not in self.tops:
            raise UnknownBlobError(f"this NetSpec has no {name!r}{nearest(name, self.tops)}")
        return self.tops[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.tops]

    def keys(self) -> list[str]:
        """The names, in order of assignment."""
        return list(self.tops)

    def vals(self) -> list[Top | Function]:
        """What was assigned, in order."""
        return list(self.tops.values())

    def update(self, name: str, params: Mapping[str, Any]) -> None:
        """Give the layer of that name further settings, or others."""
        _function(self[name]).params.update(params)

    def to_proto(self) -> NetParameter:
        """The net of all layers that the assigned blobs need."""
        return _net(self.tops.values(), {top: name for name, top in self.tops.items()})


def _function(top: Top | Function) -> Function:
    if not isinstance(top, Top | Function):
        raise ArgumentError(f"to_proto takes what L.SomeLayer(...) returns, one by one, got {top!r}")
    return top.fn if isinstance(top, Top) else top


def _net(tops: Iterable[Top | Function], names: dict[Top | Function, str]) -> NetParameter:
    """The layers that the tops need, each after those whose tops it reads, first inputs first."""
    namer = _Namer(names)
    layers: dict[Function, LayerParameter] = {}
    for top in tops:
        waiting = [_function(top)]
        while waiting:
            needed = [bottom.fn for bottom in waiting[-1].inputs if bottom.fn not in layers]
            waiting.extend(reversed(needed))
            if not needed:
                fn = waiting.pop()
                if fn not in layers:
                    layers[fn] = _layer(fn, [layers[bottom.fn].top[bottom.n] for bottom in fn.inputs], namer)
    net = NetParameter()
    net.layer.extend(layers.values())
    return net


class _Namer:
    """The names given, and for what has none its type and a number."""

    def __init__(self, names: dict[Top | Function, str]) -> None:
        self.names = names
        self.given = set(names.values())
        self.counts: Counter[str] = Counter()

    def of(self, what: Top | Function) -> str:
        """Its name."""
        type_name = _function(what).type_name
        while what not in self.names:
            self.counts[type_name] += 1
            name = f"{type_name}{self.counts[type_name]}"
            if name not in self.given:
                self.names[what] = name
        return self.names[what]


def _layer(fn: Function, bottoms: list[str], namer: _Namer) -> LayerParameter:
    layer = LayerParameter(name=namer.of(fn.tops[0] if fn.tops else fn), type=fn.type_name, bottom=bottoms)
    layer.top.extend(bottoms if fn.in_place else [namer.of(top) for top in fn.tops])
    try:
        for name, value in fn.params.items():
            assign_proto(_holder(layer, name), name, value)
    except (ArgumentError, UnknownFieldError) as error:
        raise type(error)(f"layer {layer.name!r} ({fn.type_name}): {error}") from error
    return layer


def _holder(layer: LayerParameter, name: str) -> Message:
    """The message that the setting belongs to: that of the layer's type, or the layer itself."""
    settings = _SETTINGS.get(layer.type.lower(), [])
    for own, own_message in settings:
        if name in own_message.fields_by_name and not (name in _FIELDS and name.endswith("param")):
            message: Message = getattr(layer, own)
            return message
    if name in _FIELDS:
        return layer
    fitting = [field for key, fields in _SETTINGS.items() if key in layer.type.lower() for field in fields]
    for field, holder in [("param", ParamSpec.DESCRIPTOR), *fitting]:
        if name in holder.fields_by_name:
            raise UnknownFieldError(f"there is no setting {name!r}; {field} has: {field}=dict({name}=...)")
    own_fields = [field for _, holder in settings for field in holder.fields_by_name]
    hint = nearest(name, own_fields) or nearest(name, _FIELDS)
    raise UnknownFieldError(f"there is no setting {name!r}{hint}")


class Layers:
    """pycaffe's `caffe.layers`: for every layer type a function of bottoms and settings."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        types = self.__dir__()
        if name not in types:
            hint = nearest(name, types) if name[:1].isupper() else ""
            raise AttributeError(f"there is no layer type {name!r}{hint}; net_spec.Function makes layers of any type")

        def layer(*bottoms: Top, **settings: Any) -> Top | tuple[Top, ...] | Function:
            fn = Function(name, bottoms, settings)
            return fn if fn.ntop == 0 else fn.tops[0] if fn.ntop == 1 else fn.tops

        layer.__name__ = layer.__qualname__ = name
        layer.__doc__ = TYPES[name].__doc__ if name in TYPES else None
        return layer

    def __dir__(self) -> list[str]:
        return sorted({*TYPES, *param_name_dict()})


class Parameters:
    """pycaffe's `caffe.params`: the enum values of every settings message, `P.Pooling.MAX`."""

    def __getattr__(self, name: str) -> "_Constants":
        messages = caffe_pb2.DESCRIPTOR.message_types_by_name
        if f"{name}Parameter" not in messages:
            known = [message.removesuffix("Parameter") for message in messages if message.endswith("Parameter")]
            raise AttributeError(f"there are no settings of {name!r}{nearest(name, known)}")
        return _Constants(name)


class _Constants:
    """The enum values of one message."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> int:
        values = caffe_pb2.DESCRIPTOR.message_types_by_name[f"{self._name}Parameter"].enum_values_by_name
        if name not in values:
            hint = nearest(name, values) or f"; it has {', '.join(values) or 'none'}"
            raise AttributeError(f"{self._name} has no value {name!r}{hint}")
        return int(values[name].number)


layers = Layers()
params = Parameters()
