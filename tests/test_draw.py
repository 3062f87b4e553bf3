"""caffe.draw: labels, the graph, and pictures with and without graphviz."""

import os
import re
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from pathlib import Path

import pytest

import caffepy as caffe
from caffepy import draw
from caffepy.draw.layout import Layout, arrange
from caffepy.errors import ArgumentError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter

NET = prototxt.parse(
    """
    name: "a \\"net\\" <1>"
    layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN } data_param { batch_size: 64 } }
    layer { name: "input" type: "Input" top: "data" include { phase: TEST } }
    layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 } param { lr_mult: 2 }
            convolution_param { num_output: 20 kernel_size: 5 } }
    layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
    layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
            pooling_param { pool: AVE kernel_size: 2 stride: 2 } }
    layer { name: "fc" type: "InnerProduct" bottom: "pool1" top: "fc" inner_product_param { num_output: 10 } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" exclude { phase: TEST } }
    """,
    NetParameter,
)


def layer(text: str) -> LayerParameter:
    return prototxt.parse(text, LayerParameter)


@pytest.mark.parametrize(
    ("text", "rankdir", "label"),
    [
        ('name: "r" type: "ReLU"', "LR", "r\n(ReLU)"),
        ('name: "r" type: "ReLU"', "TB", "r (ReLU)"),
        (
            'name: "c" type: "Convolution" convolution_param { kernel_size: 3 pad: 1 }',
            "BT",
            "c (Convolution) kernel size: 3 stride: 1 pad: 1",
        ),
        (
            'name: "c" type: "Deconvolution" convolution_param { kernel_h: 3 kernel_w: 5 stride: [2, 2] pad: [0, 1] }',
            "TB",
            "c (Deconvolution) kernel size: 3x5 stride: 2 pad: 0x1",
        ),
        (
            'name: "p" type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 }',
            "RL",
            "p\n(Pooling MAX)\nkernel size: 3\nstride: 2\npad: 0",
        ),
        (
            'name: "p" type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
            "TB",
            "p (Pooling AVE) kernel size: global stride: 1 pad: 0",
        ),
    ],
)
def test_layer_labels(text: str, rankdir: str, label: str) -> None:
    assert draw.get_layer_label(layer(text), rankdir) == label


def test_learning_rates_in_labels() -> None:
    conv, fc, relu = NET.layer[2], NET.layer[5], NET.layer[3]
    assert draw.get_layer_label(fc, "TB", display_lrm=True) == "fc (InnerProduct) lr mult: 1.0, 1.0"
    assert draw.get_layer_label(conv, "TB", display_lrm=True).endswith("pad: 0 lr mult: 1.0, 2.0")
    assert draw.get_layer_label(relu, "TB", display_lrm=True) == "relu1 (ReLU)"
    assert draw.get_layer_lr_mult(conv) == (1, 2)
    with pytest.raises(ValueError, match="ReLU layers have no learning rate"):
        draw.get_layer_lr_mult(relu)


def test_edge_labels_and_colours() -> None:
    assert [draw.get_edge_label(each) for each in NET.layer] == ["Batch 64", "", "20", "", "", "10", ""]
    assert draw.get_pooling_types_dict()[1] == "AVE"
    types = ["Convolution", "Deconvolution", "Pooling", "InnerProduct", "LRN"]
    assert len({draw.choose_color_by_layertype(each) for each in types}) == 4


def test_graph_as_graphviz_text() -> None:
    text = draw.draw_net(NET, "LR", "raw").decode()
    assert text.startswith('digraph "a \\"net\\" <1>" {\nrankdir=LR;\n')
    assert '"fc_InnerProduct" [label="fc\\n(InnerProduct)", shape=box, style=filled' in text
    assert '"data_blob" [label="data", shape=octagon' in text
    assert '"data_Data" -> "label_blob" [label="Batch 64"];' in text
    assert '"conv1_blob" -> "relu1_ReLU";\n"relu1_ReLU" -> "conv1_blob";' in text
    assert text.count(" -> ") == 3 + 2 + 2 + 2 + 2 + 3


@pytest.mark.parametrize(("phase", "absent"), [(caffe.TRAIN, {"input"}), (caffe.TEST, {"data", "loss"}), (None, set())])
def test_graph_of_a_phase(phase: int | None, absent: set[str]) -> None:
    keys = draw.get_pydot_graph(NET, "LR", phase=phase).nodes
    layers = {f"{each.name}_{each.type}": each.name for each in NET.layer}
    assert {layers[key] for key in layers if key not in keys} == absent


def test_old_nets_are_drawn() -> None:
    old = 'input: "data" input_dim: [1, 3, 8, 8] layers { name: "r" type: RELU bottom: "data" top: "r" }'
    assert '"r_ReLU"' in draw.draw_net(prototxt.parse(old, NetParameter), "LR", "dot").decode()


# ---- the picture that needs no graphviz


@pytest.fixture
def no_graphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


SVG = "{http://www.w3.org/2000/svg}"
Box = tuple[float, float, float, float]


def boxes(svg: ET.Element) -> list[Box]:
    """Left, top, right and bottom of every node."""
    found = []
    for polygon in svg.iter(f"{SVG}polygon"):
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", polygon.get("points", ""))]
        found.append((min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])))
    return found


@pytest.mark.parametrize(
    ("rankdir", "axis", "sign"), [("LR", "x", 1), ("RL", "x", -1), ("TB", "y", 1), ("BT", "y", -1)]
)
def test_svg(no_graphviz: Path, rankdir: str, axis: str, sign: int) -> None:
    svg = ET.fromstring(draw.draw_net(NET, rankdir, "svg", phase=caffe.TRAIN))
    texts = [text for text in svg.iter(f"{SVG}text") if text.text]
    place = {str(text.text).split()[0]: sign * float(text.get(axis, 0)) for text in texts}
    in_order = [place[name] for name in ("data", "conv1", "pool1", "fc", "loss")]
    assert in_order == sorted(in_order)
    assert place["Batch"] < place["data"] < place["20"] < place["conv1"]
    assert [path.get("marker-start") for path in svg.iter(f"{SVG}path")].count("url(#tail)") == 1  # relu1, in place
    nodes = boxes(svg)
    assert len(nodes) == 6 + 6
    assert not [
        (a, b) for a, b in combinations(nodes, 2) if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]
    left, top, width, height = map(float, svg.get("viewBox", "").split())
    assert all(left <= a and top <= b and c <= left + width and d <= top + height for a, b, c, d in nodes)


def test_svg_of_odd_names(no_graphviz: Path) -> None:
    net = prototxt.parse('name: "<&>" layer { name: "a<b" type: "Input" top: "\\"&" }', NetParameter)
    svg = ET.fromstring(draw.draw_net(net, "LR", "svg"))
    assert [text.text for text in svg.iter(f"{SVG}text")] == ["a<b", "(Input)", '"&']
    assert svg.findtext(f"{SVG}title") == "<&>"
    ET.fromstring(draw.draw_net(NetParameter(), "LR", "svg"))


def crossings(layout: Layout, edges: list[tuple[str, str]]) -> int:
    """Pairs of edge parts between two ranks whose ends are in opposite orders, counted one by one."""
    at = {member: (r, i) for r, rank in enumerate(layout.ranks) for i, member in enumerate(rank)}
    parts = [sorted((at[a], at[b])) for way in layout.ways for a, b in pairwise(way)]
    return sum(p[0][0] == q[0][0] and (p[0][1] - q[0][1]) * (p[1][1] - q[1][1]) < 0 for p, q in combinations(parts, 2))


@pytest.mark.parametrize(
    "text",
    [
        "ad ae bd be cf",
        "af be cd",
        "ab bc cd ad ae ed",
        "ab bc ca cd",
        "ab bc cd de ae be",
    ],
)
def test_layout(text: str) -> None:
    edges = [(edge[0], edge[1]) for edge in text.split()]
    sizes = {name: 10.0 + ord(name) % 7 for name in sorted({name for edge in edges for name in edge})}
    layout = arrange(sizes, edges, 5)
    ranks = {member: r for r, rank in enumerate(layout.ranks) for member in rank}
    assert sorted(member for member in ranks if isinstance(member, str)) == list(sizes)
    for (source, target), way in zip(edges, layout.ways, strict=True):
        assert (way[0], way[-1]) == (source, target)
        steps = {ranks[b] - ranks[a] for a, b in pairwise(way)}
        assert steps == ({-1} if (source, target) == ("c", "a") else {1})
    for rank in layout.ranks:
        for a, b in pairwise(rank):
            between = layout.places[b] - layout.places[a] - (sizes.get(a, 0) + sizes.get(b, 0)) / 2
            assert between > 5 - 1e-9
    assert crossings(layout, edges) == (1 if text.startswith("ad ae") else 0)


def test_a_chain_is_straight() -> None:
    layout = arrange(dict.fromkeys("abcde", 10.0), [*pairwise("abcde")], 5)
    assert len(set(layout.places.values())) == 1


# ---- files, and graphviz


def test_draw_to_file(no_graphviz: Path) -> None:
    draw.draw_net_to_file(NET, str(no_graphviz / "net.svg"))
    assert ET.parse(no_graphviz / "net.svg").getroot().tag == f"{SVG}svg"
    draw.draw_net_to_file(NET, no_graphviz / "net.dot", rankdir="TB")
    assert "rankdir=TB" in (no_graphviz / "net.dot").read_text()
    draw.get_pydot_graph(NET, "LR").write(no_graphviz / "net.raw")
    assert (no_graphviz / "net.raw").read_text().startswith("digraph")


def test_what_cannot_be_drawn(no_graphviz: Path) -> None:
    with pytest.raises(ArgumentError, match=r"'png' takes graphviz.*install graphviz, or draw to \.svg"):
        draw.draw_net_to_file(NET, str(no_graphviz / "net.png"))
    with pytest.raises(ArgumentError, match=r"no extension.*net\.svg"):
        draw.draw_net_to_file(NET, str(no_graphviz / "net"))
    with pytest.raises(ArgumentError, match="rankdir is 'left'; expected LR, RL, TB, BT"):
        draw.draw_net(NET, "left")
    with pytest.raises(RuntimeError, match="no folder"):
        draw.draw_net_to_file(NET, str(no_graphviz / "nowhere" / "net.svg"))
    assert list(no_graphviz.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="stands in for graphviz by a shell script")
def test_graphviz_draws_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dot"
    program.write_text(
        '#!/bin/sh\n[ "$1" = -Tbad ] && { echo "Format: bad not recognized" >&2; exit 1; }\necho "$1"; cat\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for ext in ("png", "svg"):
        assert draw.draw_net(NET, "LR", ext) == f"-T{ext}\n".encode() + draw.draw_net(NET, "LR", "dot")
    with pytest.raises(ArgumentError, match="cannot draw this as 'bad': Format: bad not recognized"):
        draw.draw_net(NET, "LR", "bad")


def skipping(layers: int) -> NetParameter:
    """A chain of layers that all take the first blob, too."""
    one = 'layer {{ name: "r{0}" type: "Eltwise" bottom: "t{0}" bottom: "t0" top: "t{1}" }}\n'
    first = 'layer { name: "d" type: "Input" top: "t0" input_param { shape { dim: 1 } } }\n'
    return prototxt.parse(first + "".join(one.format(i, i + 1) for i in range(layers)), NetParameter)


@pytest.mark.parametrize("layers", [10, 400])
def test_edges_over_many_ranks_bend_as_far_as_that_can_be_paid_for(no_graphviz: Path, layers: int) -> None:
    picture = ET.fromstring(draw.draw_net(skipping(layers), "LR", "svg"))
    paths = [path.get("d") for path in picture.iter("{http://www.w3.org/2000/svg}path") if path.get("class") == "edge"]
    assert len(paths) == 3 * layers
    assert sum(path.count("C") for path in paths) < 3000 + 3 * layers


def test_long_chains_are_drawn(no_graphviz: Path) -> None:
    edges = [(str(i), str(i + 1)) for i in range(20_000)]
    layout = arrange({str(i): 10.0 for i in range(20_001)}, edges, 5.0)
    assert len(layout.ranks) == 20_001


def test_names_with_control_characters(no_graphviz: Path) -> None:
    net = NetParameter(
        name="n\0\x1b[2J", layer=[LayerParameter(name="a\0\x1b", type="ReLU", bottom=["\x07"], top=["\ufffe"])]
    )
    picture = draw.draw_net(net, "LR", "svg")
    ET.fromstring(picture)
    text = draw.draw_net(net, "LR", "dot")
    for each in (picture, text):
        assert not {*each} & {0, 7, 27}
        assert "\ufffd".encode() in each
