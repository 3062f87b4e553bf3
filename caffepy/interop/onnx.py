"""A net as an ONNX model: every layer as the operators that compute it for testing, at the shapes the net has now."""

from typing import TYPE_CHECKING, Any

from caffepy.interop import library
from caffepy.interop.onnx_graph import Graph
from caffepy.interop.onnx_images import CONVERTERS
from caffepy.interop.onnx_layers import Site
from caffepy.proto.files import PathLike, replacing

if TYPE_CHECKING:
    from caffepy.net import Net

OPSET = 17
IR_VERSION = 8
"""Of onnx 1.12, which runtimes have understood since 2022."""


def to_onnx(net: "Net", path: PathLike) -> None:
    """Write the net, its weights included, as an ONNX model of opset 17; the file appears when it is whole.

    Inputs, outputs and values are named as the blobs; a version that a layer in place overwrites is `<blob>@<layer>`.
    The shapes, the batch size too, are those the net has: reshape it before for others. LRN, pooling and the like keep
    Caffe's rounding and padding.

    Raises LayerError for a layer that ONNX cannot express, StateError where onnx is not installed, MissingFileError or
    ProtoError where the file cannot be written.
    """
    onnx = library("onnx", "to_onnx", "onnx")
    net.reshape()
    with net._lock:
        model = _model(net, onnx)
    with replacing(path) as beside:
        onnx.save_model(model, beside)


def _model(net: "Net", onnx: Any) -> Any:
    graph, names, wiring = Graph(onnx), dict[int, str](), net.wiring
    last_writer = {top: i for i, tops in enumerate(wiring.tops) for top in tops}
    for i, layer in enumerate(net.execution.layers):
        if layer.type == "Input":
            names.update({top: wiring.blobs[top] for top in wiring.tops[i]})
            continue
        wanted = []
        for top in wiring.tops[i]:
            blob = wiring.blobs[top]
            last = last_writer[top] == i and blob not in wiring.inputs
            wanted.append(blob if last else f"{blob}@{layer.name}")
        _convert(net, i, graph, [names[bottom] for bottom in wiring.bottoms[i]], wanted)
        names.update(zip(wiring.tops[i], wanted, strict=True))

    def info(blob: str, name: str) -> Any:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, net.blob(blob).shape)

    inputs = [info(blob, blob) for blob in wiring.inputs]
    written = {blob: names[net.blob_index(blob)] for blob in wiring.outputs}
    outputs = [info(blob, name) for blob, name in written.items() if name not in wiring.inputs]
    whole = onnx.helper.make_graph(graph.nodes, net.param.name or "net", inputs, outputs, graph.initializers)
    opset = onnx.helper.make_opsetid("", OPSET)
    return onnx.helper.make_model(whole, opset_imports=[opset], ir_version=IR_VERSION, producer_name="caffepy")


def _convert(net: "Net", i: int, graph: Graph, bottoms: list[str], tops: list[str]) -> None:
    """Add the operators of layer `i`, whose values are to have the names `tops`."""
    layer, (bottom_blobs, top_blobs) = net.execution.layers[i], (net.wiring.bottoms[i], net.wiring.tops[i])
    if layer.type not in CONVERTERS:
        raise layer.error("to_onnx: ONNX has no operators for this type; export the net without this layer")
    shapes = [[net.execution.blobs[blob].shape for blob in blobs] for blobs in (bottom_blobs, top_blobs)]
    site, first = Site(graph, layer, bottoms, *shapes), len(graph.nodes)
    found = CONVERTERS[layer.type](site)
    renamed: dict[str, str] = {}
    for value, name in zip([found] if isinstance(found, str) else found, tops, strict=True):
        if value in bottoms or value in renamed:
            graph.add("Identity", [value], [name])
        else:
            renamed[value] = name
    graph.rename(first, renamed)
