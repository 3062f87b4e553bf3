"""The checks of the runner find the mistakes they are for."""

import numpy as np
import pytest

from tests.layers.runner import build, check_gradient, check_manners, fill


@pytest.fixture
def case():
    case = build('type: "Scale" scale_param { bias_term: true }', [(2, 3, 4)])
    fill(case, np.random.default_rng(1))
    return case


def spoil(case, monkeypatch, mistake):
    """Let backward make a mistake after its work, `mistake(top, bottom)`."""
    right = case.layer.backward

    def wrong(top, propagate_down, bottom):
        right(top, propagate_down, bottom)
        mistake(top, bottom)

    monkeypatch.setattr(case.layer, "backward", wrong)
    monkeypatch.setattr(case.layer, "host", True)  # what is no operation cannot be captured


def test_what_is_right_passes(case):
    rng = np.random.default_rng(2)
    for where in (0, ("param", 0), ("param", 1)):
        check_gradient(case, where, rng)
    check_manners(case, rng)


@pytest.mark.parametrize("where", [0, ("param", 0), ("param", 1)])
def test_a_diff_two_percent_off_is_found(case, monkeypatch, where):
    def mistake(top, bottom):
        case.blob(where).diff[...] *= 1.02

    spoil(case, monkeypatch, mistake)
    with pytest.raises(AssertionError, match="differences say"):
        check_gradient(case, where, np.random.default_rng(3))


def test_one_wrong_value_is_found(case, monkeypatch):
    def mistake(top, bottom):
        bottom[0].diff[1, 2, 3] += 1

    spoil(case, monkeypatch, mistake)
    with pytest.raises(AssertionError, match="differences say"):
        check_gradient(case, 0, np.random.default_rng(4))


def test_a_diff_that_is_not_written_is_found(case, monkeypatch):
    monkeypatch.setattr(case.layer, "backward", lambda top, propagate_down, bottom: None)
    with pytest.raises(AssertionError, match="backward says nan"):
        check_gradient(case, 0, np.random.default_rng(5))


def test_a_weight_diff_that_does_not_add_up_is_found(case, monkeypatch):
    def mistake(top, bottom):
        case.weights[1].diff[...] = top[0].diff.sum(axis=(0, 2))

    spoil(case, monkeypatch, mistake)
    with pytest.raises(AssertionError, match="differences say"):
        check_gradient(case, ("param", 1), np.random.default_rng(6))
    with pytest.raises(AssertionError, match="must add up"):
        check_manners(case, np.random.default_rng(6))


def test_a_diff_nobody_asked_for_is_found(case, monkeypatch):
    def mistake(top, bottom):
        bottom[0].diff[...] = 0

    spoil(case, monkeypatch, mistake)
    with pytest.raises(AssertionError, match="nobody asked for"):
        check_manners(case, np.random.default_rng(7))


def test_a_forward_that_writes_a_diff_is_found(case, monkeypatch):
    def forward(bottom, top):
        top[0].diff[0] = 0

    monkeypatch.setattr(case.layer, "forward", forward)
    with pytest.raises(AssertionError, match="forward wrote a diff"):
        check_manners(case, np.random.default_rng(8))


def test_the_workspace_is_garbage_at_every_pass(case):
    case.layer.reserve_workspace(5)
    case.layer.workspace[...] = 1
    case.forward()
    assert np.isnan(case.layer.workspace).all()
