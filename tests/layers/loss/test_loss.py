"""What losses share: shapes that fit, labels that are classes."""

import numpy as np
import pytest

from caffepy.errors import LayerError
from tests.layers.loss.checks import case_of
from tests.layers.runner import build


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"EuclideanLoss"', 11 / 4),
        ('"L1Loss"', 5 / 2),
        ('"SmoothL1Loss"', (2.5 + 0.5 + 0.5) / 2),
        ('"ContrastiveLoss" bottom: "a" bottom: "b" bottom: "s"', 11 / 4),
    ],
)
def test_shapes_may_differ_where_rows_and_values_do_not(text, expected):
    shapes = [(2, 3), (2, 3, 1, 1), (2,)][: 3 if "Contrastive" in text else 2]
    case = case_of(f"type: {text}", shapes, [[[3, 0, 1], [0, 1, 0]], 0, 1][: len(shapes)])
    case.bottom[1].data.flat[2] = 1
    case.bottom[1].data.flat[5] = 1
    np.testing.assert_allclose(case.forward()[0], expected, 1e-6)
    case.top[0].diff[...] = 1
    first, second = case.backward()[:2]
    assert first.any()
    np.testing.assert_array_equal(first.reshape(-1), -second.reshape(-1))


@pytest.mark.parametrize(
    ("text", "shapes", "message"),
    [
        ("EuclideanLoss", [(2, 3), (2, 4)], r"bottom 'bottom1' has shape \(2, 4\), bottom 'bottom0' has \(2, 3\)"),
        ("EuclideanLoss", [(), ()], "1 axis at least"),
        ("EuclideanLoss", [(2, 6), (3, 4)], r"bottom 'bottom1' has shape \(3, 4\)"),
        ("EuclideanLoss", [(2,)], "takes 2 bottom"),
        ("L1Loss", [(2, 3), (2, 4)], r"bottom 'bottom1' has shape \(2, 4\), bottom 'bottom0' has \(2, 3\)"),
        ("L1Loss", [(2,)], "2 axes at least"),
        ("SmoothL1Loss", [(2, 3)] * 2 + [(2,)], r"bottom 'bottom2' has shape \(2,\)"),
        ('SmoothL1Loss" smooth_l1_loss_param { sigma: 0 } name: "x', [(2, 3)] * 2, "sigma must be above 0, got 0"),
        ("HingeLoss", [(4, 3), (3,)], r"'bottom1' has shape \(3,\), 3 labels; give 4"),
        ("HingeLoss", [(4,), (4,)], "'bottom0' must have 2 axes at least"),
        ("ContrastiveLoss", [(4, 3), (4, 2), (4,)], r"as many rows and values, got shapes \(4, 3\) and \(4, 2\)"),
        ("ContrastiveLoss", [(4, 3), (4, 3), (5,)], "'bottom2' has shape .*, 5 labels; give 4"),
        ("ContrastiveLoss", [(4, 3), (4, 3), (4,), (5,)], "'bottom3' has shape .*, 5 labels; give 4"),
        ("MultinomialLogisticLoss", [(4, 3), (4, 3)], "12 labels; give 4"),
        ("SigmoidCrossEntropyLoss", [(4, 3), (4, 2)], r"\(4, 3\) need as many targets"),
        ("InfogainLoss", [(4, 3), (4,)], "needs the infogain matrix: give infogain_loss_param { source }"),
        ("InfogainLoss", [(4, 3), (4,), (3, 4)], r"bottom 2 has shape \(3, 4\); 3 classes need 3\^2 values"),
        ("InfogainLoss", [(4, 3), (5,), (3, 3)], "5 labels; scores of shape .* need 4"),
    ],
)
def test_errors(text, shapes, message):
    with pytest.raises(LayerError, match=message):
        build(f'type: "{text}"', shapes)


@pytest.mark.parametrize("name", ["HingeLoss", "MultinomialLogisticLoss"])
@pytest.mark.parametrize("label", [3, -1, np.nan])
def test_a_label_that_is_no_class(name, label):
    case = case_of(f'type: "{name}"', [(2, 3), (2,)], [0.5, [1, label]])
    with pytest.raises(
        LayerError, match=rf"label {label:g} at \(1,\) of .* is not one of the 3 classes 0 to 2; mend it$"
    ):
        case.forward()
