"""The page's graph: what is joined, what is folded, and where it goes."""

from itertools import combinations

import pytest

import caffepy
from caffepy.explore.diagram import diagram, steps_of
from caffepy.zoo import nets
from tests.explore.nets import branches


@pytest.fixture
def steps(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(branches(2))
    with caffepy.Net(str(path), caffepy.TEST) as net:
        yield steps_of(net.table())


def test_layers_in_place_are_joined_to_what_they_change(steps) -> None:
    by_name = {step.first.name: [row.name for row in step.layers] for step in steps}
    assert by_name["conv1"] == ["conv1", "relu1"]
    assert by_name["block1/right"] == ["block1/right", "block1/relu"]
    assert "relu1" not in by_name


def test_branches_are_folded_with_where_they_meet(steps) -> None:
    blocks = {step.first.name: step.block for step in steps}
    for i in range(2):
        assert {blocks[f"block{i}/{part}"] for part in ("left", "right", "output")} == {f"block{i}"}
    assert not any(blocks[name] for name in ("data", "conv1", "pool", "fc", "prob"))


def test_the_folded_graph_is_a_line(steps) -> None:
    drawn = diagram(steps, ())
    assert [node["key"] for node in drawn["nodes"]] == [
        *("layer data", "layer conv1", "block block0", "block block1", "layer pool", "layer fc", "layer prob"),
    ]
    folded = next(node for node in drawn["nodes"] if node["key"] == "block block0")
    assert folded["lines"] == ["block0", "4 layers", "4x6x10x8"]
    assert [(edge["source"], edge["target"]) for edge in drawn["edges"]] == [
        ("layer data", "layer conv1"),
        ("layer conv1", "block block0"),
        ("block block0", "block block1"),
        ("block block1", "layer pool"),
        ("layer pool", "layer fc"),
        ("layer fc", "layer prob"),
    ]


def test_a_block_unfolds(steps) -> None:
    drawn = diagram(steps, ["block1"])
    keys = {node["key"] for node in drawn["nodes"]}
    assert {"block block0", "layer block1/left", "layer block1/right", "layer block1/output"} < keys
    assert ("block block0", "layer block1/left") in {(edge["source"], edge["target"]) for edge in drawn["edges"]}


@pytest.mark.parametrize("name", ["googlenet", "resnet50"])
def test_published_nets_fold_into_their_blocks(name: str) -> None:
    with caffepy.Net(getattr(nets, name)(), caffepy.TEST) as net:
        steps = steps_of(net.table())
    blocks = list(dict.fromkeys(step.block for step in steps if step.block))
    if name == "googlenet":
        assert blocks == [f"inception_{block}" for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
    else:
        assert len(blocks) == 16
        assert blocks[0].startswith("res2a")
    whole = diagram(steps, blocks)
    left, top, width, height = whole["bounds"]
    for node in whole["nodes"]:
        assert left <= node["x"] - node["w"] / 2 <= node["x"] + node["w"] / 2 <= left + width
        assert top <= node["y"] - node["h"] / 2 <= node["y"] + node["h"] / 2 <= top + height
    for one, other in combinations(whole["nodes"], 2):
        apart = abs(one["x"] - other["x"]) >= (one["w"] + other["w"]) / 2
        assert apart or abs(one["y"] - other["y"]) >= (one["h"] + other["h"]) / 2
