"""LSTM, RNN and LSTMUnit against their equations, one sequence and one step at a time."""

import math

import numpy as np
import pytest

import caffepy
from caffepy.errors import LayerError
from caffepy.layers.recurrent import recurrent
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import TEST, NetParameter
from caffepy.rng import set_random_seed
from tests.gpu_mode import MODES, REAL, running
from tests.layers.runner import Case, build, check_gradient, check_manners, fill

STEPS, NUM, OUTPUTS = 4, 3, 5
X, CONT, STATE = (STEPS, NUM, 2, 3), (STEPS, NUM), (1, NUM, OUTPUTS)
STATES = {"LSTM": 2, "RNN": 1}


def case_of(type_name: str, static: bool = False, expose: bool = False, outputs: int = OUTPUTS) -> Case:
    states = STATES[type_name] if expose else 0
    tops = " ".join(f'top: "t{i}"' for i in range(1 + states))
    filler = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "gaussian" }'
    param = f"recurrent_param {{ num_output: {outputs} expose_hidden: {int(expose)} {filler} }}"
    case = build(f'type: "{type_name}" {tops} {param}', [X, CONT, *[(NUM, 4)] * static, *[(1, NUM, outputs)] * states])
    rng = np.random.default_rng(3)
    fill(case, rng, 0.7)
    case.bottom[1].data[...] = rng.integers(0, 2, CONT)
    case.bottom[1].data[:2] = 1 if expose else 0
    return case


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_definition(case: Case, static: bool, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tops of all steps, and the states after them, from those before; (N, D) each."""
    x, cont = (blob.data.astype(np.float64) for blob in case.bottom[:2])
    weights = [w.data.astype(np.float64) for w in case.weights]
    of_x, bias, *of_static = weights[: 2 + static]
    of_h, *output = weights[2 + static :]
    outputs, h, c = h.shape[1], h.astype(np.float64), c.astype(np.float64)
    tops = np.empty((len(x), *h.shape))
    for t, n in np.ndindex(*x.shape[:2]):
        sums = of_x @ x[t, n].reshape(-1) + bias + of_h @ (cont[t, n] * h[n])
        if static:
            sums += of_static[0] @ case.bottom[2].data[n]
        if output:
            h[n] = np.tanh(sums)
            tops[t, n] = np.tanh(output[0] @ h[n] + output[1])
            continue
        for d in range(outputs):
            i, f, o, g = sums[d::outputs]
            c[n, d] = cont[t, n] * sigmoid(f) * c[n, d] + sigmoid(i) * math.tanh(g)
            tops[t, n, d] = h[n, d] = sigmoid(o) * math.tanh(c[n, d])
    return tops, h, c


@pytest.mark.parametrize("type_name", STATES)
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("expose", [False, True])
def test_it_is_its_definition(type_name, static, expose):
    case = case_of(type_name, static, expose)
    states = [blob.data[0] for blob in case.bottom[2 + static :]] if expose else []
    h, c = (*states, np.zeros(STATE[1:]), np.zeros(STATE[1:]))[:2]
    for found, expected in zip(case.forward(), by_definition(case, static, h, c), strict=False):
        np.testing.assert_allclose(found, expected.reshape(found.shape), 1e-4, 1e-5)
    rng = np.random.default_rng(5)
    for where in (0, *[2] * static, *(("param", i) for i in range(len(case.weights)))):
        check_gradient(case, where, rng)
    check_manners(case, rng)
    assert [case.layer.differentiable(i) for i in range(len(case.bottom))] == [
        i == 0 or (i == 2 and static) for i in range(len(case.bottom))
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("type_name", STATES)
def test_states_go_on_in_the_next_pass_and_through_other_lengths(mode, type_name):
    with running(mode):
        case = case_of(type_name)
        h, c = np.zeros((2, NUM, OUTPUTS))
        for steps in (STEPS, 2, STEPS + 2):
            case.reshape((steps, *X[1:]), (steps, NUM))
            case.bottom[0].data[...] = np.random.default_rng(steps).standard_normal((steps, *X[1:]))
            case.bottom[1].data[...] = 1
            expected, h, c = by_definition(case, False, h, c)
            np.testing.assert_allclose(case.forward()[0], expected, 1e-4, 1e-5)


NET = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 2 } } }
layer { name: "cont" type: "Input" top: "cont" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "y" type: "LSTM" bottom: "x" bottom: "cont" top: "y" recurrent_param { num_output: 5
        weight_filler { type: "gaussian" } } }
layer { name: "z" type: "RNN" bottom: "y" bottom: "cont" top: "z" recurrent_param { num_output: 2
        weight_filler { type: "gaussian" } } }
"""


@pytest.mark.parametrize("mode", MODES)
def test_states_go_on_when_passes_are_replayed(mode):
    def results() -> list[np.ndarray]:
        set_random_seed(1)
        found, rng = [], np.random.default_rng(1)
        with caffepy.Net(prototxt.parse(NET, NetParameter), TEST) as net:
            for _ in range(4):  # as it is, captured, replayed twice
                net.blobs["x"].data[...] = rng.standard_normal(net.blobs["x"].shape)
                net.blobs["cont"].data[...] = 1
                net.forward()
                net.blobs["z"].diff[...] = 1
                net.backward()
                found += [net.blobs["z"].data.copy(), net.blobs["x"].diff.copy()]
        return found

    with running("cpu"):
        expected = results()
    with running(mode):
        for on_gpu, on_cpu in zip(results(), expected, strict=True):
            np.testing.assert_allclose(on_gpu, on_cpu, 1e-4, 1e-5)


def test_a_step_forgets_where_a_sequence_begins():
    case = case_of("LSTM")
    case.bottom[1].data[...] = 1
    case.bottom[1].data[2, 1] = 0
    first = case.forward()[0].copy()
    case.bottom[0].data[:2, 1] += 1
    second = case.forward()[0]
    np.testing.assert_array_equal(second[2:, 1], first[2:, 1])
    assert (second[:2, 1] != first[:2, 1]).any()


def test_as_in_caffe_no_diff_comes_from_exposed_states():
    case = case_of("LSTM", expose=True)
    case.forward()
    diffs = []
    for value in (0, 5):
        case.top[0].diff[...] = 1
        case.top[1].diff[...] = case.top[2].diff[...] = value
        diffs.append(case.backward()[0].copy())
    np.testing.assert_array_equal(*diffs)


@pytest.mark.parametrize("type_name", STATES)
def test_products_of_inputs_take_all_steps_at_once(type_name, monkeypatch):
    seen = []
    multiply = recurrent.inner_product_forward
    monkeypatch.setattr(
        recurrent, "inner_product_forward", lambda *args, **kw: (seen.append(args[0].shape), multiply(*args, **kw))
    )
    case_of(type_name, static=True).forward()
    assert seen == [X, (NUM, 4), *[(1, NUM, OUTPUTS)] * STEPS]


@pytest.mark.parametrize("cont", [0, 1, 0.3])
def test_lstm_unit(cont):
    case = build('type: "LSTMUnit" top: "c" top: "h"', [(1, 2, 3), (1, 2, 12), (1, 2)])
    rng = np.random.default_rng(0)
    fill(case, rng)
    case.bottom[2].data[...] = cont
    before, sums = case.bottom[0].data, case.bottom[1].data
    found = case.forward()
    for n, d in np.ndindex(2, 3):
        i, f, o, g = (float(v) for v in sums[0, n, d::3])
        c = cont * sigmoid(f) * before[0, n, d] + sigmoid(i) * math.tanh(g)
        np.testing.assert_allclose([top[0, n, d] for top in found], [c, sigmoid(o) * math.tanh(c)], 1e-5)
    for where in (0, 1):
        check_gradient(case, where, rng, tops=(0, 1))
    check_manners(case, rng)


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        ("LSTM", [X, CONT], "num_output must be at least 1, got 0"),
        ('LSTM" recurrent_param { num_output: 5 expose_hidden: true } name: "x', [X, CONT], "takes 4 bottoms, or one"),
        ('RNN" recurrent_param { num_output: 5 } name: "x', [X, CONT, STATE, STATE], "takes 2 bottoms, or one more"),
        ('LSTM" recurrent_param { num_output: 5 } name: "x', [(4, 3), (4, 3)], r"must be \(steps, sequences, ...\)"),
        ('LSTM" recurrent_param { num_output: 5 } name: "x', [X, (4, 2)], r"'bottom1' must have shape \(4, 3\), got"),
        ('RNN" recurrent_param { num_output: 5 } name: "x', [X, CONT, (2, 7)], r"'bottom2' must have shape \(3, 7\)"),
        ("LSTMUnit", [(2, 3, 4), (2, 3, 16), (2, 3)], r"'bottom0' must be \(1, sequences, outputs\)"),
        ("LSTMUnit", [(1, 3, 4), (1, 3, 12), (1, 3)], r"'bottom1' must have shape \(1, 3, 16\), got \(1, 3, 12\)"),
    ],
)
def test_errors(text, shapes, message):
    tops = 'top: "c" top: "h"' if text == "LSTMUnit" else ""
    with pytest.raises(LayerError, match=message):
        build(f'type: "{text}" {tops}', shapes)


def test_inputs_keep_their_size():
    with pytest.raises(LayerError, match="do not fit the weights"):
        case_of("RNN").reshape((STEPS, NUM, 7), CONT)


# ---- Lstm and ContinuationIndicator


def lstm_of_forks(cont: bool = False, limit: float = 0) -> Case:
    filler = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "gaussian" }'
    param = f"lstm_param {{ num_output: {OUTPUTS} clipping_threshold: {limit} {filler} }}"
    case = build(f'type: "Lstm" {param}', [X, *[(STEPS * NUM,)] * cont])
    rng = np.random.default_rng(3)
    fill(case, rng, 0.7)
    if cont:
        case.bottom[1].data[...] = rng.integers(0, 2, STEPS * NUM)
    return case


def as_caffes(case: Case) -> Case:
    """The same layer as type LSTM has it: W_x, b, W_h."""
    same = case_of("LSTM")
    same.bottom[0].data[...] = case.bottom[0].data
    same.bottom[1].data[...] = case.bottom[1].data.reshape(CONT) if len(case.bottom) > 1 else 1
    for weight, other in zip(same.weights, (0, 2, 1), strict=True):
        weight.data[...] = case.weights[other].data
    if len(case.bottom) == 1:
        same.bottom[1].data[0] = 0
    return same


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
@pytest.mark.parametrize("cont", [False, True])
def test_lstm_of_forks(mode, cont):
    with running(mode):
        case = lstm_of_forks(cont)
        h, c = np.zeros((2, NUM, OUTPUTS))
        for _ in range(2):  # with cont, the states go on
            (top,) = case.forward()
            if not cont:
                h, c = np.zeros((2, NUM, OUTPUTS))
            expected, h, c = by_definition(as_caffes(case), False, h, c)
            np.testing.assert_allclose(top, expected, 1e-4, 1e-5)
        assert [w.shape for w in case.weights] == [(4 * OUTPUTS, 6), (4 * OUTPUTS, OUTPUTS), (4 * OUTPUTS,)]
        assert [case.layer.differentiable(i) for i in range(1 + cont)] == [True, False][: 1 + cont]


def test_gradient_of_the_lstm_of_forks():
    rng = np.random.default_rng(6)
    case = lstm_of_forks()
    for where in (0, ("param", 0), ("param", 1), ("param", 2)):
        check_gradient(case, where, rng)
    check_manners(case, rng)


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
def test_clipped_diffs(mode):
    rng = np.random.default_rng(7)
    noise = rng.standard_normal((STEPS, NUM, OUTPUTS))
    with running(mode):
        found = []
        for limit in (0, 0.05, 1e6):
            case = lstm_of_forks(limit=limit)
            case.forward()
            case.top[0].diff[...] = noise
            case.weights[2].diff[...] = 0
            case.backward()
            found.append((case.layer.sums_diff.host.copy(), case.weights[2].diff.copy()))
        (free, _), (limited, of_bias), (wide, _) = found
        assert abs(free).max() > 0.05
        np.testing.assert_array_equal(wide, free)
        assert abs(limited).max() == np.float32(0.05)
        np.testing.assert_allclose(limited[-1], free[-1].clip(-0.05, 0.05), 1e-6)  # no step after it
        np.testing.assert_allclose(of_bias, limited.sum(axis=(0, 1)), 1e-4, 1e-6)


@pytest.mark.parametrize("mode", ["cpu", "gpu-ascending", REAL])
def test_continuation_indicator(mode):
    with running(mode):
        case = build('type: "ContinuationIndicator" continuation_indicator_param { time_step: 3 batch_size: 2 }', [])
        np.testing.assert_array_equal(case.forward()[0], [[0, 0], [1, 1], [1, 1]])


@pytest.mark.parametrize(
    ("text", "shapes", "says"),
    [
        ('type: "Lstm"', [X], "num_output must be at least 1, got 0"),
        (
            'type: "Lstm" lstm_param { num_output: 2 }',
            [(4, 3)],
            r"must be \(steps, sequences, ...\), got shape \(4, 3\)",
        ),
        ('type: "Lstm" lstm_param { num_output: 2 }', [X, (3,)], r"must have 4 x 3 values, .* got shape \(3,\)"),
        ('type: "ContinuationIndicator"', [], "time_step: 0 and batch_size: 0 must be at least 1"),
    ],
)
def test_errors_of_forks_layers(text, shapes, says):
    with pytest.raises(LayerError, match=says):
        build(text, shapes)
