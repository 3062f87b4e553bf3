"""Settings of forks that caffepy does not act on: which change nothing, and which would."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from caffepy.errors import ProtoError, UnknownFieldError
from caffepy.proto.caffe_pb2 import (
    DESCRIPTOR,
    TRAIN,
    LayerParameter,
    NetParameter,
    Phase,
    SolverParameter,
    UnreadSetting,
)

_HOW = """
    backward_math backward_type cache compile_net_state conv_algorithm conv_algos_override
    cudnn_convolution_algo_seeker cudnn_math_override debug default_backward_math default_backward_type
    default_conv_algos_override default_cudnn_math_override default_forward_math default_forward_type engine
    filter_group fix_gradient forward_math forward_type global_grad_scale global_grad_scale_adaptive
    intersection_thresh mem_param multinode n_top_detections net_quantization_param parser_threads
    quantization_param reduce_buckets reshape_every_iter threads use_gpu_transform
"""
_OF_OTHERS = (
    "ap_version larc_eta larc_policy rampup_lr show_per_class_result solver_data_type stepearly warmup_start_lr"
)
_RESIZED = """
    allow_upscale horizontal_stretch_lower horizontal_stretch_upper img_rand_resize_lower img_rand_resize_upper
    rand_resize_ratio_lower rand_resize_ratio_upper vertical_stretch_lower vertical_stretch_upper
"""
_SLOWLY = "slowly at first; remove it, or set base_lr between calls of step()"
_UNCHANGED = "it says how to compute, not what"
_ANY = None


class Rule(NamedTuple):
    """What a setting is for."""

    neutral: frozenset[str] | None
    """The values, as text, that change nothing; None for any."""
    does: str
    """What another value does, and what to do about it."""
    phase: int | None = None
    """The phase in which alone it does so."""


_Removed = Counter[tuple[str, str]]
"""How often a setting was removed, for which reason."""

_INSIDE = ("layer", "blobs", "net_param", "train_net_param", "test_net_param")
"""Messages that have settings of their own."""

RULES = {name: Rule(_ANY, _UNCHANGED) for name in _HOW.split()} | {
    "bn_stats_batch_size": Rule(
        frozenset({"0"}), "takes BatchNorm's statistics of so many images at a time; give batches of that size", TRAIN
    ),
    "coeff_blob": Rule(frozenset({"false"}), "takes a sum's coefficients from the last bottom; use Axpy, or Scale"),
    "extra_ar": Rule(frozenset({"false", "0"}), "adds boxes to a PriorBox; give their aspect_ratio"),
    "quantize": Rule(frozenset({"false"}), "rounds values to 8 bits; remove it to compute with whole ones"),
    "quantize_net": Rule(frozenset({"false"}), "rounds values to few bits; remove it to compute with whole ones"),
    "soft_nms": Rule(frozenset({"false"}), "lowers scores where others remove boxes; remove it, or do so afterwards"),
    "ConvolutionParameter.relu": Rule(frozenset({"false"}), "joins a ReLU to the layer; write it as a layer"),
    "ConvolutionParameter.negative_slope": Rule(_ANY, "it belongs to relu"),
    "emit_constraint": Rule(_ANY, "it belongs to the crops of AnnotatedData"),
    "SolverParameter.eval_type": Rule(_ANY, "tests tell the mean of each top, as Caffe's do"),
    "SolverParameter.larc": Rule(frozenset({"false"}), "scales the rate of each layer; remove it, and tune base_lr"),
    "SolverParameter.rampup_interval": Rule(frozenset({"0"}), f"raises the rate {_SLOWLY}"),
    "SolverParameter.warmup_iter": Rule(frozenset({"0"}), f"raises the rate {_SLOWLY}"),
}
RULES |= {f"SolverParameter.{name}": Rule(_ANY, "it belongs to what is not done") for name in _OF_OTHERS.split()}
RULES |= {name: Rule(frozenset({"false", "0"}), "changes pictures at random; remove it") for name in _RESIZED.split()}
"""By `name`, or by `Message.name` where other messages have a field of that name that is acted on."""


def settle(net: NetParameter, phase: int) -> list[str]:
    """Remove from a net what changes nothing in that phase, and say so.

    The net has the layers of that phase only. Raises UnknownFieldError or ProtoError for a setting that would change
    something.
    """
    removed: _Removed = Counter()
    _settle(net, f"net {net.name!r}", phase, removed)
    for layer in net.layer:
        _settle(layer, f"layer {layer.name!r}", phase, removed)
    return _told(removed)


def settle_solver(param: SolverParameter) -> list[str]:
    """The same for a solver; nets inside it are left as they are."""
    removed: _Removed = Counter()
    _settle(param, "the solver", TRAIN, removed)
    return _told(removed)


def _settle(owner: NetParameter | LayerParameter | SolverParameter, where: str, phase: int, removed: _Removed) -> None:
    if not isinstance(owner, SolverParameter):
        for setting in owner.unread:
            removed[setting.name, _reason(setting, phase, where)] += 1
        owner.ClearField("unread")
    for message, field, value in list(_ruled(owner)):
        setting = UnreadSetting(owner=message.DESCRIPTOR.name, name=field, value=value)
        removed[field, _reason(setting, phase, where)] += 1
        message.ClearField(field)


def _told(removed: _Removed) -> list[str]:
    return [f"{name} ({count} times) is ignored: {why}" for (name, why), count in removed.items()]


def _reason(setting: UnreadSetting, phase: int, where: str) -> str:
    """Why the setting can be ignored in that phase; raises the error where it cannot."""
    rule = rule_of(setting.owner, setting.name)
    if rule is None:
        known = setting.name in DESCRIPTOR.message_types_by_name[setting.owner].fields_by_name
        raise (ProtoError if known else UnknownFieldError)(setting.error)
    if rule.neutral is None:
        return rule.does
    if setting.value in rule.neutral:
        return f"{setting.value} changes nothing"
    if rule.phase not in (None, phase):
        return f"it has no meaning in phase {Phase.Name(phase)}"
    raise ProtoError(f"{where}: {setting.name}: {setting.value} {rule.does}; caffepy does not have it")


def rule_of(message: str, field: str) -> Rule | None:
    """The rule for a field of a message, by their names; None for one that is acted on, or unknown."""
    return RULES.get(f"{message}.{field}") or RULES.get(field)


def changes_nothing(message: str, field: str) -> bool:
    """Whether no value of that field does."""
    rule = rule_of(message, field)
    return rule is not None and rule.neutral is None


def _ruled(message: Message) -> Iterator[tuple[Message, str, str]]:
    """The settings that have rules, with their values as text; layers and nets inside are left out."""
    for field, value in message.ListFields():
        if rule_of(message.DESCRIPTOR.name, field.name):
            yield message, field.name, _text(field, value)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.name not in _INSIDE:
            for inner in value if isinstance(value, Sequence) else [value]:
                yield from _ruled(inner)


def _text(field: FieldDescriptor, value: object) -> str:
    """A value as a prototxt has it; nothing for a message, which no rule looks into."""
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return ""
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)  # type: ignore[index]
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
