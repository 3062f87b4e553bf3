"""pycaffe's draw: a net as a picture, by graphviz where that is installed, else as SVG by a layout of its own."""

import os
from typing import Any

from caffepy.draw.diagram import Diagram
from caffepy.draw.svg import Edge, Node
from caffepy.errors import ArgumentError
from caffepy.graph import included
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter, NetState, PoolingParameter
from caffepy.proto.files import replacing
from caffepy.proto.upgrade import upgrade_net

__all__ = [
    "choose_color_by_layertype",
    "draw_net",
    "draw_net_to_file",
    "get_edge_label",
    "get_layer_label",
    "get_layer_lr_mult",
    "get_pooling_types_dict",
    "get_pydot_graph",
]

_COLORS = {"Convolution": "#FF5050", "Deconvolution": "#FF5050", "Pooling": "#FF9900", "InnerProduct": "#CC33FF"}
_OTHER_COLOR, _IN_PLACE_COLOR, _BLOB_COLOR = "#6495ED", "#90EE90", "#E0E0E0"
_LEARNING = ("Convolution", "Deconvolution", "InnerProduct")
_DIRECTIONS = ("LR", "RL", "TB", "BT")


def get_pooling_types_dict() -> dict[int, str]:
    """The names of the pooling methods by number."""
    return {value.number: value.name for value in PoolingParameter.PoolMethod.DESCRIPTOR.values}


def get_edge_label(layer: LayerParameter) -> str:
    """What is written beside the arrows to a layer's tops: the batch size or the number of outputs, or nothing."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return ""


def get_layer_lr_mult(layer: LayerParameter) -> tuple[float, float]:
    """The learning-rate multipliers of weights and bias; ArgumentError for a type that does not learn both."""
    if layer.type not in _LEARNING:
        raise ArgumentError(f"{layer.type} layers have no learning rate multiplier; {', '.join(_LEARNING)} have")
    given = [param.lr_mult for param in layer.param]
    weights, bias = [*given, 1.0, 1.0][:2]
    return weights, bias


def get_layer_label(layer: LayerParameter, rankdir: str, display_lrm: bool = False) -> str:
    """Name, type and sizes of a layer: on one line in a graph from top to bottom or back, else on a line each."""
    parts = [layer.name, f"({layer.type})"]
    if layer.type == "Pooling":
        parts[1] = f"(Pooling {get_pooling_types_dict()[layer.pooling_param.pool]})"
    if layer.type in ("Convolution", "Deconvolution", "Pooling"):
        param = layer.pooling_param if layer.type == "Pooling" else layer.convolution_param
        whole = layer.type == "Pooling" and layer.pooling_param.global_pooling
        kernel_size = "global" if whole else _size(param, "kernel_size", "kernel", 1)
        parts += [f"kernel size: {kernel_size}"]
        parts += [f"stride: {_size(param, 'stride', 'stride', 1)}", f"pad: {_size(param, 'pad', 'pad', 0)}"]
    if display_lrm and layer.type in _LEARNING and any(get_layer_lr_mult(layer)):
        parts.append("lr mult: {:.1f}, {:.1f}".format(*get_layer_lr_mult(layer)))
    return (" " if rankdir in ("TB", "BT") else "\n").join(parts)


def _size(param: Any, name: str, prefix: str, default: int) -> str:
    """`3`, or `3x5` where the axes differ."""
    if param.HasField(f"{prefix}_h") or param.HasField(f"{prefix}_w"):
        sizes = [getattr(param, f"{prefix}_h"), getattr(param, f"{prefix}_w")]
    else:
        value = getattr(param, name)
        sizes = [value] if isinstance(value, int) else list(value) or [default]
    return "x".join(map(str, sizes)) if len(set(sizes)) > 1 else str(sizes[0])


def choose_color_by_layertype(layertype: str) -> str:
    """The colour of a layer that does not run in place."""
    return _COLORS.get(layertype, _OTHER_COLOR)


def get_pydot_graph(
    caffe_net: NetParameter,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Diagram:
    """The net as a graph of layers and blobs, which has `to_string`, `create` and `write` as pydot's graphs do.

    rankdir      LR, RL, TB or BT: where the data flow, from left to right and so on
    label_edges  write sizes beside the arrows, see get_edge_label
    phase        caffe.TRAIN or caffe.TEST: only the layers of that phase; else all
    display_lrm  write the learning-rate multipliers into the layers
    """
    if rankdir not in _DIRECTIONS:
        raise ArgumentError(f"rankdir is {rankdir!r}; expected {', '.join(_DIRECTIONS)}")
    net = NetParameter()
    net.CopyFrom(caffe_net)
    upgrade_net(net)
    diagram = Diagram(net.name or "Net", rankdir)
    for layer in net.layer:
        if phase is not None and not included(layer, NetState(phase=phase)):  # type: ignore[arg-type]
            continue
        in_place = len(layer.bottom) == len(layer.top) == 1 and layer.bottom[0] == layer.top[0]
        color = _IN_PLACE_COLOR if in_place else choose_color_by_layertype(layer.type)
        key = f"{layer.name}_{layer.type}"
        for blob in (*layer.bottom, *layer.top):
            diagram.nodes[f"{blob}_blob"] = Node(blob, "octagon", _BLOB_COLOR)
        diagram.nodes[key] = Node(get_layer_label(layer, rankdir, display_lrm), "box", color)
        label = get_edge_label(layer) if label_edges else ""
        diagram.edges += [Edge(f"{blob}_blob", key) for blob in layer.bottom]
        diagram.edges += [Edge(key, f"{blob}_blob", label) for blob in layer.top]
    return diagram


def draw_net(
    caffe_net: NetParameter, rankdir: str, ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """The net's picture as the contents of a file of that extension: svg, dot (graphviz's language), or whatever
    graphviz can write, if it is installed: png, pdf ...

    The other arguments are get_pydot_graph's. Raises ArgumentError for what cannot be drawn here.
    """
    return get_pydot_graph(caffe_net, rankdir, phase=phase, display_lrm=display_lrm).create(ext)


def draw_net_to_file(
    caffe_net: NetParameter,
    filename: str | os.PathLike[str],
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Draw the net into a file, whose name's extension says how; see draw_net. The file appears when it is whole."""
    name = os.fspath(filename)
    ext = os.path.splitext(name)[1].removeprefix(".")
    if not ext:
        raise ArgumentError(f"draw_net_to_file: {name!r} has no extension to tell the kind of file; try {name}.svg")
    picture = draw_net(caffe_net, rankdir, ext, phase, display_lrm)
    with replacing(name) as beside, open(beside, "wb") as file:
        file.write(picture)
