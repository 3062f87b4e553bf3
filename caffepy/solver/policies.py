"""Learning-rate policies: the rate of an iteration (Caffe: SGDSolver::GetLearningRate in sgd_solver.cpp)."""

import math
from collections.abc import Callable

import numpy as np

from caffepy.errors import SolverError
from caffepy.proto.caffe_pb2 import SolverParameter


def learning_rate(param: SolverParameter, iteration: int, current_step: int) -> tuple[float, int]:
    """The rate at an iteration, as float32, and the step it stands at.

    `current_step` is where the last call left it; only step and multistep change it. Raises SolverError for an unknown
    policy, and for settings under which Caffe stops.
    """
    if param.lr_policy not in POLICIES:
        raise SolverError(
            f"lr_policy: {param.lr_policy!r} is "
            + ("unknown" if param.lr_policy else "not given")
            + f"; give one of {', '.join(POLICIES)}"
        )
    step = _step(param, iteration, current_step)
    factor = POLICIES[param.lr_policy](param, iteration, step)
    with np.errstate(over="ignore"):
        return float(np.float32(param.base_lr * factor)), step


def fixed(param: SolverParameter, iteration: int, step: int) -> float:
    """1."""
    return 1.0


def step(param: SolverParameter, iteration: int, step: int) -> float:
    """gamma^floor(iteration / stepsize)."""
    return _power(_gamma(param), step)


def exp(param: SolverParameter, iteration: int, step: int) -> float:
    """gamma^iteration."""
    return _power(_gamma(param), iteration)


def inv(param: SolverParameter, iteration: int, step: int) -> float:
    """(1 + gamma iteration)^-power."""
    gamma, at = np.float32(_gamma(param)), np.float32(iteration)
    return _power(np.float32(1) + gamma * at, np.float32(-param.power))


def multistep(param: SolverParameter, iteration: int, step: int) -> float:
    """gamma^step, where step has gone up by one at each stepvalue."""
    return _power(_gamma(param), step)


def poly(param: SolverParameter, iteration: int, step: int) -> float:
    """(1 - iteration / max_iter)^power."""
    if not param.max_iter:
        raise SolverError("lr_policy: 'poly' divides by max_iter, which is 0; give max_iter")
    return _power(np.float32(1) - np.float32(iteration) / np.float32(param.max_iter), np.float32(param.power))


def sigmoid(param: SolverParameter, iteration: int, step: int) -> float:
    """1 / (1 + exp(-gamma (iteration - stepsize)))."""
    _stepsize(param)
    return 0.5 * (1 + math.tanh(0.5 * _gamma(param) * (iteration - param.stepsize)))


POLICIES: dict[str, Callable[[SolverParameter, int, int], float]] = {
    p.__name__: p for p in (fixed, step, exp, inv, multistep, poly, sigmoid)
}


def _step(param: SolverParameter, iteration: int, current: int) -> int:
    if param.lr_policy == "step":
        return iteration // _stepsize(param)
    values = param.stepvalue
    if param.lr_policy == "multistep" and current < len(values) and iteration >= values[current]:
        return current + 1  # one at a time, even where several have passed
    return current


def _stepsize(param: SolverParameter) -> int:
    if param.stepsize <= 0:
        raise SolverError(f"lr_policy: {param.lr_policy!r} needs a stepsize above 0, got {param.stepsize}")
    return param.stepsize


def _gamma(param: SolverParameter) -> float:
    if not param.gamma >= 0:
        raise SolverError(f"lr_policy: {param.lr_policy!r} needs a gamma of at least 0, got {param.gamma:g}")
    return param.gamma


def _power(base: float | np.float32, exponent: float | np.float32) -> float:
    """C's pow, of singles in single precision: NaN where there is no real power, infinity where it is too large."""
    with np.errstate(all="ignore"):
        return float(np.power(base, exponent, dtype=np.float32 if isinstance(base, np.float32) else np.float64))
