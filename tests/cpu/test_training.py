"""Training on packed weights: six solvers on both roads, what scripts read and write between steps, what is moved."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import caffepy
from caffepy.cpu.homes import ZEROS, Packed
from caffepy.device.onednn.handles import Call
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter, SolverParameter
from caffepy.solver.solver import SOLVERS, Solver
from tests.cpu.roads import assert_alike, needs_onednn, road

pytestmark = needs_onednn

# channels that fill no block, a weight shared by two layers, one that is not learned, products of few and of many
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 5 dim: 3 dim: 12 dim: 12 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 5 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 20 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "a" type: "Convolution" bottom: "pool1" top: "a" param { name: "w" } param { name: "b" }
        convolution_param { num_output: 20 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "b" type: "Convolution" bottom: "a" top: "b" param { name: "w" } param { name: "b" }
        convolution_param { num_output: 20 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "c" type: "Convolution" bottom: "b" top: "c" param { lr_mult: 0 } param { lr_mult: 2 }
        convolution_param { num_output: 32 kernel_size: 1 group: 2 weight_filler { type: "xavier" } } }
layer { name: "scale" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
layer { name: "ip1" type: "InnerProduct" bottom: "c" top: "ip1"
        inner_product_param { num_output: 30 weight_filler { type: "xavier" } } }
layer { name: "relu2" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
        inner_product_param { num_output: 7 transpose: true weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""
SETTINGS = 'lr_policy: "fixed" base_lr: 0.01 weight_decay: 0.01 random_seed: 1 '
RATES = {
    "SGD": "momentum: 0.9",
    "Nesterov": "momentum: 0.9",
    "AdaGrad": "delta: 0.1",
    "RMSProp": "rms_decay: 0.9 delta: 0.1",
    "AdaDelta": "momentum: 0.9 delta: 0.1",
    "Adam": "momentum: 0.9 momentum2: 0.99 delta: 0.1",
}
Between = Callable[[Solver, int], None]


@pytest.fixture(autouse=True)
def numpys_errors() -> Iterator[None]:
    """Pads of blocks that are divided by zero would be seen here at the latest."""
    with np.errstate(all="raise", under="ignore"):
        yield


def nothing(solver: Solver, step: int) -> None:
    """Between steps."""


def train(
    engine: str, kind: str = "SGD", settings: str = "", between: Between = nothing, steps: int = 4
) -> dict[str, np.ndarray]:
    """Weights, diffs, history and losses after so many steps."""
    with road(engine):
        solver = made(kind, settings)
        losses = []
        for step in range(steps):
            between(solver, step)
            solver.step(1)
            losses.append(float(solver.net.blobs["loss"].data))
        found = {"losses": np.array(losses)}
        for name, blobs in solver.net.params.items():
            found |= {f"{name} {i} data": blob.data.copy() for i, blob in enumerate(blobs)}
            found |= {f"{name} {i} diff": blob.diff.copy() for i, blob in enumerate(blobs)}
        return found | {f"history {i}": blob.data.copy() for i, blob in enumerate(solver._history)}


def made(kind: str = "SGD", settings: str = "", net: str = NET, **numbers: float) -> Solver:
    """A solver of this net with noise for input."""
    caffepy.set_random_seed(1)
    param = prototxt.parse(f'{SETTINGS} {RATES[kind]} {settings} type: "{kind}"', SolverParameter)
    for name, value in numbers.items():
        setattr(param, name, value)
    param.train_net_param.CopyFrom(prototxt.parse(net, NetParameter))
    solver = SOLVERS[kind](param)
    rng = np.random.default_rng(2)
    solver.net.blobs["data"].data[...] = rng.standard_normal((5, 3, 12, 12))
    solver.net.blobs["label"].data[...] = rng.integers(0, 7, 5)
    return solver


@pytest.mark.parametrize("kind", RATES)
@pytest.mark.parametrize("settings", ["", "clip_gradients: 0.5", "iter_size: 3", 'regularization_type: "L1"'])
def test_both_roads_train_alike(kind: str, settings: str) -> None:
    assert_alike(train("onednn", kind, settings), train("numpy", kind, settings), 2e-4)


def edit(solver: Solver, step: int) -> None:
    """A script that looks at some weights and writes to others."""
    params = solver.net.params
    if step % 2:
        params["conv1"][0].data[...] *= 0.9
        params["ip1"][0].data[2] += 0.1
    else:
        assert np.isfinite(params["b"][0].data).all()


def look_at_diffs(solver: Solver, step: int) -> None:
    """A script that keeps views of diffs and of weights."""
    views = solver.__dict__.setdefault("views", [])
    if step == 1:
        views += [solver.net.params[name][0].diff for name in ("conv1", "ip1")]
        views.append(solver.net.params["ip1"][0].data)
    if step > 1:
        assert all(view.any() for view in views)


def steps_of_its_own(solver: Solver, step: int) -> None:
    """A forward and a backward pass of the script's, which add to the diffs before the solver clears them."""
    last = len(solver.net.layers) - 1
    for _ in range(step):
        solver.net.forward()
        solver.net.backward_from_to(last, 0)
    if step == 2:
        solver.apply_update()


def with_a_test_net(solver: Solver, step: int) -> None:
    """A net for testing that shares the weights, at another batch size."""
    if "test_net" not in solver.__dict__:
        param = prototxt.parse(
            NET.replace("dim: 5 dim: 3", "dim: 2 dim: 3").replace("dim: 5 }", "dim: 2 }"), NetParameter
        )
        solver.__dict__["test_net"] = caffepy.Net(param, caffepy.TEST)
        solver.__dict__["test_net"].share_with(solver.net)
    net = solver.__dict__["test_net"]
    net.blobs["data"].data[...] = solver.net.blobs["data"].data[:2]
    net.forward()
    solver.net.forward()
    np.testing.assert_allclose(net.blobs["ip2"].data, solver.net.blobs["ip2"].data[:2], 1e-3, 1e-5)


def cleared_by_hand(solver: Solver, step: int) -> None:
    """Diffs that a script clears and fills itself."""
    solver.net.clear_param_diffs()
    solver.net.params["ip1"][0].diff[...] = 0.25
    solver.apply_update()


@pytest.mark.parametrize("between", [edit, look_at_diffs, steps_of_its_own, with_a_test_net, cleared_by_hand])
def test_what_scripts_do_between_steps(between: Between) -> None:
    assert_alike(train("onednn", between=between), train("numpy", between=between), 2e-4)


def test_a_snapshot_of_packed_history_is_resumed(tmp_path: object) -> None:
    with road("onednn"):
        solver = made(settings=f'snapshot_prefix: "{tmp_path}/s"')
        solver.step(3)
        state = solver.snapshot()
        other = made(settings=f'snapshot_prefix: "{tmp_path}/s"')
        other.step(1)
        other.restore(state)
        for each in (solver, other):
            each.step(2)
        for mine, restored in zip(solver._history, other._history, strict=True):
            np.testing.assert_array_equal(mine.data, restored.data)
        np.testing.assert_array_equal(solver.net.params["a"][0].data, other.net.params["a"][0].data)


def test_weights_diffs_and_history_stay_packed() -> None:
    with road("onednn"):
        solver = made()
        solver.step(3)
        for name in ("conv1", "a", "ip1"):
            blob = solver.net.params[name][0]
            index = next(i for i, weight in enumerate(solver._update.weights) if weight.blob is blob)
            for storage in (blob.data_storage, blob.diff_storage, solver._history[index].data_storage):
                assert not storage.fresh
                assert [type(home) for home in storage.homes] == [Packed]
        solver.net.run(solver._clearing)
        assert solver.net.params["a"][0].diff_storage.homes == (ZEROS,)
        assert not solver.net.params["a"][0].diff.any()


def test_pads_of_blocks_stay_zero_where_a_rule_divides_by_it() -> None:
    """AdaGrad without a delta divides 0 by 0 wherever nothing was learned, and NaN would spread from there."""
    finite = {}
    for engine in ("numpy", "onednn"):
        with road(engine):
            solver = made("AdaGrad", delta=0)
            solver.step(1)
            solver.net.forward()  # before anybody looks at the weights, which would unpack them
            top = np.isfinite(solver.net.blobs["a"].data)
            finite[engine] = {"a's top": top} | {
                f"{name} {i}": np.isfinite(blob.data)
                for name, blobs in solver.net.params.items()
                for i, blob in enumerate(blobs)
            }
    for name, expected in finite["numpy"].items():
        np.testing.assert_array_equal(finite["onednn"][name], expected, name)
    assert finite["numpy"]["a's top"].all()


def test_a_settled_step_moves_each_weight_once_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the layout of backward, for convolutions whose bottom wants a diff; nothing else is packed or unpacked."""
    with road("onednn"):
        solver = made(net=NET.replace('layer { name: "scale"', 'layer { include { phase: TEST } name: "scale"'))
        solver.step(2)
        moves: list[tuple[int, ...]] = []
        move = Packed._move

        def counted(self: Packed, source: object, target: object) -> None:
            moves.append(self.memory.layout.shape)
            move(self, source, target)  # type: ignore[arg-type]

        monkeypatch.setattr(Packed, "_move", counted)
        solver.step(1)
        assert moves == [(20, 20, 3, 3)]
        captured = solver.net.execution.replay.on_cpu.captured()
        assert len(captured) == 3
        reordered = [
            call._keep[1][0][1].layout.shape
            for each in captured
            for call in each._calls
            if isinstance(call, Call) and call.name == "reorder"
        ]
        assert not [shape for shape in reordered if shape in ((20, 3, 3, 3), (30, 1152), (2, 16, 10, 1, 1))]
        assert reordered.count((20, 20, 3, 3)) == 1  # of what the second layer adds to the diff of their weight
