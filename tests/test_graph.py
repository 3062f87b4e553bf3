"""Caffe's cases for filtering, splits, wiring and backward planning, on the pure functions."""

import pytest

from caffepy import graph
from caffepy.errors import GraphError
from caffepy.net import plans
from caffepy.net.plans import LayerFacts
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import TEST, TRAIN, NetParameter, NetState


def net(text: str) -> NetParameter:
    return prototxt.parse(text, NetParameter)


def layer(name: str, type_: str, bottoms: str = "", tops: str = "", more: str = "") -> str:
    lines = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    return f'layer {{ name: "{name}" type: "{type_}" {" ".join(lines)} {more} }}\n'


def describe(param: NetParameter) -> list[str]:
    return [f"{x.name}: {' '.join(x.bottom)} -> {' '.join(x.top)}" for x in param.layer]


# ---- filtering


@pytest.mark.parametrize(
    ("rules", "state", "expected"),
    [
        ("", {}, True),
        ("include: { phase: TRAIN }", {"phase": TRAIN}, True),
        ("include: { phase: TRAIN }", {"phase": TEST}, False),
        ("exclude: { phase: TRAIN }", {"phase": TRAIN}, False),
        ("exclude: { phase: TRAIN }", {"phase": TEST}, True),
        ("include: { phase: TEST } include: { phase: TRAIN }", {"phase": TRAIN}, True),
        ("exclude: { phase: TEST } exclude: { stage: 'a' }", {"phase": TRAIN, "stage": ["a"]}, False),
        ("include: { min_level: 2 }", {"level": 1}, False),
        ("include: { min_level: 2 }", {"level": 2}, True),
        ("include: { max_level: 2 }", {"level": 3}, False),
        ("include: { max_level: -1 }", {}, False),
        ("include: { min_level: 0 max_level: 0 }", {}, True),
        ("include: { stage: 'a' }", {}, False),
        ("include: { stage: 'a' }", {"stage": ["b", "a"]}, True),
        ("include: { stage: 'a' stage: 'b' }", {"stage": ["a"]}, False),
        ("include: { stage: 'a' } include: { stage: 'b' }", {"stage": ["b"]}, True),
        ("include: { not_stage: 'a' }", {"stage": ["a"]}, False),
        ("include: { not_stage: 'a' }", {"stage": ["b"]}, True),
        ("include: { stage: 'a' not_stage: 'b' }", {"stage": ["a", "b"]}, False),
        ("include: { phase: TEST stage: 'a' min_level: 1 }", {"phase": TEST, "stage": ["a"], "level": 1}, True),
        ("include: { phase: TEST stage: 'a' min_level: 1 }", {"phase": TRAIN, "stage": ["a"], "level": 1}, False),
    ],
)
def test_a_state_includes_a_layer(rules: str, state: dict, expected: bool) -> None:
    kept = graph.filter_net(net(layer("x", "ReLU", "", "", rules)), NetState(**state))
    assert len(kept.layer) == expected


def test_filtering_keeps_order_and_leaves_the_original_alone() -> None:
    original = net(
        layer("train", "Data", "", "data", "include { phase: TRAIN }")
        + layer("test", "Data", "", "data", "include { phase: TEST }")
        + layer("ip", "InnerProduct", "data", "ip")
        + layer("accuracy", "Accuracy", "ip", "accuracy", "exclude { phase: TRAIN }")
    )
    assert [x.name for x in graph.filter_net(original, NetState(phase=TRAIN)).layer] == ["train", "ip"]
    assert [x.name for x in graph.filter_net(original, NetState(phase=TEST)).layer] == ["test", "ip", "accuracy"]
    assert len(original.layer) == 4


def test_include_with_exclude_is_an_error() -> None:
    text = layer("x", "ReLU", "", "", "include { phase: TEST } exclude { phase: TRAIN }")
    with pytest.raises(GraphError, match="layer 'x' has both include and exclude"):
        graph.filter_net(net(text), NetState())


# ---- splits


def test_a_chain_gets_no_split() -> None:
    text = layer("data", "Data", "", "data label") + layer("ip", "IP", "data", "ip") + layer("loss", "L", "ip label")
    assert graph.insert_splits(net(text)) == net(text)


def test_two_consumers_get_a_split_each() -> None:
    split = graph.insert_splits(
        net(
            layer("data", "Data", "", "data label")
            + layer("ip1", "IP", "data", "ip1")
            + layer("ip2", "IP", "data", "ip2")
            + layer("loss1", "L", "ip1 label")
            + layer("loss2", "L", "ip2 label")
        )
    )
    assert describe(split) == [
        "data:  -> data label",
        "data_data_0_split: data -> data_data_0_split_0 data_data_0_split_1",
        "label_data_1_split: label -> label_data_1_split_0 label_data_1_split_1",
        "ip1: data_data_0_split_0 -> ip1",
        "ip2: data_data_0_split_1 -> ip2",
        "loss1: ip1 label_data_1_split_0 -> ",
        "loss2: ip2 label_data_1_split_1 -> ",
    ]
    assert split.layer[1].type == "Split"
    assert graph.insert_splits(split) == split


def test_the_version_that_is_consumed_is_split_after_in_place_layers() -> None:
    split = graph.insert_splits(
        net(
            layer("data", "Data", "", "data")
            + layer("ip1", "IP", "data", "ip1")
            + layer("relu1", "ReLU", "ip1", "ip1")
            + layer("ip2", "IP", "ip1", "ip2")
            + layer("loss1", "L", "ip1 ip2")
        )
    )
    assert describe(split)[2:4] == [
        "relu1: ip1 -> ip1",
        "ip1_relu1_0_split: ip1 -> ip1_relu1_0_split_0 ip1_relu1_0_split_1",
    ]


def test_one_layer_that_takes_a_blob_twice_gets_a_split() -> None:
    split = graph.insert_splits(net(layer("x", "Input", "", "x") + layer("sum", "Eltwise", "x x", "y")))
    assert describe(split)[1:] == [
        "x_x_0_split: x -> x_x_0_split_0 x_x_0_split_1",
        "sum: x_x_0_split_0 x_x_0_split_1 -> y",
    ]


def test_a_loss_weight_is_the_first_consumer_and_other_weights_are_kept() -> None:
    split = graph.insert_splits(
        net(layer("data", "Data", "", "a b", "loss_weight: 3 loss_weight: 5") + layer("ip", "IP", "a", "ip"))
    )
    assert describe(split) == [
        "data:  -> a b",
        "a_data_0_split: a -> a_data_0_split_0 a_data_0_split_1",
        "ip: a_data_0_split_1 -> ip",
    ]
    assert list(split.layer[1].loss_weight) == [3, 0]
    assert list(split.layer[0].loss_weight) == [0, 5]
    assert graph.wire(split).outputs == ["a_data_0_split_0", "b", "ip"]


def test_an_unconsumed_loss_weight_needs_no_split() -> None:
    text = layer("x", "Input", "", "x") + layer("p", "Power", "x", "y", "loss_weight: 2")
    assert graph.insert_splits(net(text)) == net(text)


# ---- wiring


def test_wiring_names_blobs_versions_inputs_and_outputs() -> None:
    wiring = graph.wire(
        net(
            layer("in", "Input", "", "Zeta alpha")
            + layer("ip", "IP", "Zeta", "beta")
            + layer("relu", "ReLU", "beta", "beta")
            + layer("top", "IP", "beta", "Beta")
        )
    )
    assert wiring.blobs == ["Zeta", "alpha", "beta", "Beta"]
    assert wiring.inputs == ["Zeta", "alpha"]
    assert wiring.outputs == ["Beta", "alpha"]
    assert wiring.versions(2) == [(1, 0), (2, 0)]
    assert wiring.sources == [[], [(0, 0)], [(1, 0)], [(2, 0)]]


INPUT = layer("a", "Input", "", "x")
INPUTS = layer("a", "Input", "", "x y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (INPUT + layer("b", "IP", "xx", "y"), "layer 'b' (IP): unknown bottom blob 'xx'; no earlier layer has"),
        (layer("a", "IP", "y", "x") + layer("b", "IP", "x", "y"), "'y': it is first written by layer 'b'"),
        (layer("a", "IP", "x", "x"), "break the cycle"),
        (INPUT + layer("b", "Input", "", "x"), "layer 'b' (Input): top blob 'x' is produced by layer 'a' already"),
        (INPUTS + layer("b", "Eltwise", "x y", "y"), "top blob 'y' is produced by layer 'a' already"),
        (
            INPUT + layer("b", "ReLU", "x", "x") + layer("c", "IP", "x", "z") + layer("d", "ReLU", "x", "x"),
            "layer 'd' (ReLU): runs in place on 'x', which another layer consumes as well",
        ),
    ],
)
def test_wiring_errors(text: str, message: str) -> None:
    with pytest.raises(GraphError) as error:
        graph.wire(graph.insert_splits(net(text)))
    assert message in str(error.value)


def test_in_place_means_the_same_index() -> None:
    wiring = graph.wire(net(INPUTS + layer("b", "Two", "x y", "z y")))
    assert wiring.versions(1) == [(0, 1), (1, 1)]


# ---- shared parameters


def test_parameters_are_shared_by_name_with_the_first() -> None:
    layers = net(
        layer("a", "IP", "", "", "param { name: 'w' } param { name: 'b' }")
        + layer("b", "IP", "", "", "param { name: 'w' }")
        + layer("c", "IP", "", "", "param {} param { name: 'b' }")
    ).layer
    assert graph.param_owners(layers, [2, 2, 2]) == {(1, 0): (0, 0), (2, 1): (0, 1)}


@pytest.mark.parametrize("field", ["lr_mult", "decay_mult"])
def test_shared_parameters_have_equal_multipliers(field: str) -> None:
    layers = net(
        layer("a", "IP", "", "", f"param {{ name: 'w' {field}: 1 }}")
        + layer("b", "IP", "", "", f"param {{ name: 'w' {field}: 2 }}")
    ).layer
    with pytest.raises(GraphError, match=f"layers 'a' and 'b' share param 'w' with different {field}: 1 and 2"):
        graph.param_owners(layers, [1, 1])


def test_surplus_param_entries_are_an_error() -> None:
    with pytest.raises(GraphError, match="3 param entries, but it has 2 weight blob"):
        graph.param_owners(net(layer("a", "IP", "", "", "param {} param {} param {}")).layer, [2])


# ---- planning backward

TWO_BRANCHES = (
    layer("data", "Input", "", "data label")
    + layer("ip1", "IP", "data", "ip1", "{first}")
    + layer("ip2", "IP", "ip1", "ip2", "{second}")
    + layer("loss", "Loss", "ip2 label", "loss")
)
WEIGHTS = {"IP": 1, "Loss": 0, "Input": 0, "Split": 0, "ReLU": 0, "Silence": 0}


def plan(text: str) -> plans.BackwardPlan:
    param = graph.insert_splits(net(text))
    return plans.plan_backward(param, graph.wire(param), facts(param))


def facts(param: NetParameter) -> list[LayerFacts]:
    return [
        LayerFacts(
            list(x.loss_weight) or [float(x.type == "Loss")] * len(x.top),
            WEIGHTS[x.type],
            [not (x.type == "Loss" and j == 1) for j in range(len(x.bottom))],
        )
        for x in param.layer
    ]


def test_only_what_weights_need_runs_backward() -> None:
    p = plan(TWO_BRANCHES.replace("{first}", "").replace("{second}", ""))
    assert p.layers == [False, True, True, True]
    assert p.bottoms == [[], [False], [True], [True, False]]


def test_frozen_layers_stop_backward() -> None:
    p = plan(TWO_BRANCHES.replace("{first}", "param { lr_mult: 0 }").replace("{second}", ""))
    assert p.layers == [False, False, True, True]
    assert p.bottoms == [[], [False], [False], [True, False]]
    assert p.params == [[], [False], [True], []]


def test_a_weights_diff_may_be_asked_for_whatever_lr_mult_is() -> None:
    frozen, asked = "param { param_propagate_down: false }", "param { lr_mult: 0 param_propagate_down: true }"
    assert plan(TWO_BRANCHES.replace("{first}", frozen).replace("{second}", "")).params == [[], [False], [True], []]
    assert plan(TWO_BRANCHES.replace("{first}", asked).replace("{second}", "")).params == [[], [True], [True], []]


def test_propagate_down_false_stops_backward() -> None:
    p = plan(TWO_BRANCHES.replace("{first}", "").replace("{second}", "propagate_down: false"))
    assert p.layers == [False, False, True, True]
    assert p.bottoms[2] == [False]


def test_propagate_down_true_reaches_an_input_of_a_layer_that_runs_anyway() -> None:
    p = plan(TWO_BRANCHES.replace("{first}", "propagate_down: true").replace("{second}", ""))
    assert p.bottoms[1] == [True]


def test_without_a_loss_nothing_runs() -> None:
    p = plan(layer("data", "Input", "", "data") + layer("ip", "IP", "data", "ip"))
    assert p.layers == [False, False]


def test_a_branch_without_a_loss_does_not_run() -> None:
    p = plan(
        TWO_BRANCHES.replace("{first}", "").replace("{second}", "")
        + layer("side", "IP", "ip1", "side")
        + layer("silence", "Silence", "side")
    )
    assert p.layers == [False, True, True, True, True, False, False]


def test_a_loss_weight_anywhere_is_a_loss() -> None:
    p = plan(layer("data", "Input", "", "data") + layer("ip", "IP", "data", "ip", "loss_weight: 2"))
    assert p.layers == [False, True]


def test_force_backward_overrides_everything_and_goes_to_labels_too() -> None:
    p = plan(
        "force_backward: true "
        + TWO_BRANCHES.replace("{first}", "param { lr_mult: 0 }").replace("{second}", "propagate_down: false")
    )
    assert p.layers == [True] * 4
    assert p.bottoms == [[], [True], [True], [True, True]]
    assert p.params == [[], [True], [True], []]


def test_the_number_of_propagate_down_is_checked() -> None:
    with pytest.raises(GraphError, match=r"layer 'ip2' \(IP\): 2 propagate_down for 1 bottom"):
        plan(TWO_BRANCHES.replace("{first}", "").replace("{second}", "propagate_down: true propagate_down: true"))


# ---- planning a gradient

DIAMOND = (
    layer("data", "Input", "", "data label")
    + layer("a", "IP", "data", "a")
    + layer("a_relu", "ReLU", "a", "a")
    + layer("b", "IP", "a", "b")
    + layer("c", "IP", "a", "c")
    + layer("loss", "Loss", "b label", "loss")
)


def steps(injected: list[tuple[int, int]], wrt: list[tuple[int, int]]) -> list[str]:
    param = graph.insert_splits(net(DIAMOND))
    planned = plans.plan_gradient(graph.wire(param), facts(param), injected, wrt).steps
    return [param.layer[i].name + "".join("+-"[not p] for p in propagate) for i, propagate in planned]


def test_a_gradient_runs_the_layers_between() -> None:
    # layers: 0 data, 1 a, 2 a_relu, 3 the split, 4 b, 5 c, 6 loss
    assert steps([(6, 0)], [(0, 0)]) == ["loss+-", "b+", "a_a_relu_0_split+", "a_relu+", "a+"]
    assert steps([(5, 0)], [(1, 0)]) == ["c+", "a_a_relu_0_split+", "a_relu+"]
    assert steps([(5, 0)], [(2, 0)]) == ["c+", "a_a_relu_0_split+"]
    assert steps([(5, 0), (4, 0)], [(3, 1)]) == ["c+"]
    assert steps([(2, 0)], [(1, 0)]) == ["a_relu+"]


def test_a_gradient_without_a_path_runs_nothing() -> None:
    assert steps([(1, 0)], [(5, 0)]) == []
    assert steps([(6, 0)], [(0, 1)]) == []
    assert steps([(5, 0)], [(4, 0)]) == []


# ---- overwritten data


def test_in_place_layers_overwrite_what_their_producer_wrote_and_what_they_read() -> None:
    wiring = graph.wire(net(DIAMOND.split('layer { name: "b"')[0]))
    gone = plans.overwritten(wiring, lambda blob: blob, [True] * 3)
    assert gone.tops == {(1, 0): 2}
    assert gone.bottoms == {(2, 0): 2}


def test_views_pass_overwriting_on_and_write_nothing_themselves() -> None:
    text = layer("in", "Input", "", "x") + layer("flat", "View", "x", "y") + layer("relu", "ReLU", "y", "y")
    wiring = graph.wire(net(text))
    one_memory = plans.overwritten(wiring, lambda blob: 0, [True, False, True])
    assert one_memory.tops == {(0, 0): 2, (1, 0): 2}
    assert one_memory.bottoms == {(1, 0): 2, (2, 0): 2}
    assert plans.overwritten(wiring, lambda blob: blob, [True, True, True]).bottoms == {(2, 0): 2}
