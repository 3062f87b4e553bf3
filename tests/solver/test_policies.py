"""Learning-rate policies against rates that real Caffe logged, and their errors."""

import math

import pytest

from caffepy.errors import SolverError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import SolverParameter
from caffepy.solver.policies import learning_rate


def rates(settings: str, count: int = 6) -> list[float]:
    param, step, found = prototxt.parse("base_lr: 0.01 " + settings, SolverParameter), 0, []
    for iteration in range(count):
        rate, step = learning_rate(param, iteration, step)
        found.append(rate)
    return found


@pytest.mark.parametrize(
    ("settings", "logged"),  # logs of real Caffe: solver_runs/lr_*.log
    [
        ('lr_policy: "fixed"', "0.01 0.01 0.01 0.01 0.01 0.01"),
        ('lr_policy: "step" gamma: 0.5 stepsize: 2', "0.01 0.01 0.005 0.005 0.0025 0.0025"),
        ('lr_policy: "exp" gamma: 0.9', "0.01 0.009 0.0081 0.00729 0.006561 0.0059049"),
        (
            'lr_policy: "inv" gamma: 0.1 power: 0.75',
            "0.01 0.00931012 0.00872196 0.00821377 0.00776969 0.00737788",
        ),
        ('lr_policy: "multistep" gamma: 0.1 stepvalue: 2 stepvalue: 4', "0.01 0.01 0.001 0.001 0.0001 0.0001"),
        (
            'lr_policy: "poly" power: 2 max_iter: 6',
            "0.01 0.00694444 0.00444444 0.0025 0.00111111 0.000277778",
        ),
        (
            'lr_policy: "sigmoid" gamma: 0.5 stepsize: 3',
            "0.00182426 0.00268941 0.00377541 0.005 0.00622459 0.00731059",
        ),
    ],
)
def test_rates_are_those_that_caffe_logged(settings: str, logged: str) -> None:
    assert [f"{rate:g}" for rate in rates(settings)] == logged.split()


def test_multistep_goes_up_one_step_an_iteration() -> None:
    found = rates('lr_policy: "multistep" gamma: 0.5 stepvalue: 1 stepvalue: 1 stepvalue: 1', 5)
    assert found == pytest.approx([0.01, 0.005, 0.0025, 0.00125, 0.00125])


def test_poly_beyond_max_iter_is_no_number() -> None:
    assert math.isnan(rates('lr_policy: "poly" power: 0.5 max_iter: 2', 4)[3])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("", "lr_policy: '' is not given; give one of fixed, step, exp"),
        ('lr_policy: "cosine"', "lr_policy: 'cosine' is unknown; give one of fixed"),
        ('lr_policy: "step" gamma: 0.1', "lr_policy: 'step' needs a stepsize above 0, got 0"),
        ('lr_policy: "sigmoid" gamma: 0.1', "lr_policy: 'sigmoid' needs a stepsize above 0"),
        ('lr_policy: "exp" gamma: -1', "lr_policy: 'exp' needs a gamma of at least 0, got -1"),
        ('lr_policy: "poly" power: 1', "'poly' divides by max_iter, which is 0"),
    ],
)
def test_errors(settings: str, message: str) -> None:
    with pytest.raises(SolverError, match=message):
        rates(settings)
