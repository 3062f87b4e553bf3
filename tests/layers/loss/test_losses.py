"""The losses beside SoftmaxWithLoss against their definitions, value by value, and their complaints."""

import math

import numpy as np
import pytest

from caffepy import io
from caffepy.errors import LayerError, MissingFileError
from tests.layers.runner import build, check_gradient, check_manners


def case_of(text, shapes, values):
    case = build(text, shapes)
    for blob, value in zip(case.bottom, values, strict=True):
        blob.data[...] = value
    return case


def check(case, expected, *, bottoms=(0,), step=1e-2):
    """The loss is the expected one, its derivatives are, and bottoms without one are left alone."""
    rng = np.random.default_rng(1)
    (loss,) = case.forward()
    assert loss.shape == ()
    np.testing.assert_allclose(loss, expected, 1e-5, 1e-6)
    for bottom in range(len(case.bottom)):
        assert case.layer.differentiable(bottom) == (bottom in bottoms)
    for bottom in bottoms:
        check_gradient(case, bottom, rng, step=step)
    check_manners(case, rng)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 5, 1), (4,)])
def test_euclidean(rng, shape):
    a, b = rng.standard_normal((2, *shape)).astype(np.float32)
    expected = sum((float(x) - float(y)) ** 2 for x, y in zip(a.flat, b.flat, strict=True)) / 2 / shape[0]
    check(case_of('type: "EuclideanLoss"', [shape] * 2, [a, b]), expected, bottoms=(0, 1))


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


@pytest.mark.parametrize(("norm", "power"), [("", 1), ("hinge_loss_param { norm: L2 }", 2)])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 2, 1)])
def test_hinge(rng, shape, norm, power):
    scores, labels = rng.standard_normal(shape).astype(np.float32), rng.integers(0, 3, shape[0])
    expected = 0.0
    for n, row in enumerate(scores.reshape(shape[0], -1)):
        for c, s in enumerate(row):
            expected += max(0.0, 1 - s if c == labels[n] else 1 + s) ** power
    case = case_of(f'type: "HingeLoss" {norm}', [shape, (shape[0], 1)], [scores, labels[:, None]])
    check(case, expected / shape[0], step=1e-4 if power == 1 else 1e-2)


@pytest.mark.parametrize("legacy", [False, True])
def test_contrastive(rng, legacy):
    a, b = rng.standard_normal((2, 6, 3)).astype(np.float32)
    similar = np.array([0, 1, 0, 2, 0.5, 0], np.float32)  # the whole part of 0.5 is 0
    expected = 0.0
    for n in range(6):
        squared = float(((a[n] - b[n]).astype(np.float64) ** 2).sum())
        if int(similar[n]):
            expected += squared
        else:
            expected += max(0.0, 3 - squared) if legacy else max(0.0, 3 - math.sqrt(squared)) ** 2
    text = f'type: "ContrastiveLoss" contrastive_loss_param {{ margin: 3 legacy_version: {str(legacy).lower()} }}'
    check(case_of(text, [(6, 3), (6, 3), (6,)], [a, b, similar]), expected / 12, bottoms=(0, 1))


def test_contrastive_of_two_labels_that_are_equal_or_not(rng):
    a, b = rng.standard_normal((2, 5, 3)).astype(np.float32)
    labels = [[4, 0, 7, 2.5, -1], [4, 0, 3, 2, 1]]  # the whole parts of 2.5 and 2 are equal
    expected = 0.0
    for n, similar in enumerate([True, True, False, True, False]):
        distance = math.sqrt(((a[n] - b[n]).astype(np.float64) ** 2).sum())
        expected += distance**2 if similar else max(0.0, 3 - distance) ** 2
    case = case_of(
        'type: "ContrastiveLoss" contrastive_loss_param { margin: 3 }', [(5, 3)] * 2 + [(5,)] * 2, [a, b, *labels]
    )
    check(case, expected / 10, bottoms=(0, 1))


def test_contrastive_pair_in_one_point_has_no_derivative_but_a_loss():
    case = case_of('type: "ContrastiveLoss"', [(1, 2), (1, 2), (1,)], [1, 1, 0])
    assert case.forward()[0] == 0.5
    case.top[0].diff[...] = 1
    assert (case.backward()[0] == 0).all()


@pytest.mark.parametrize(
    ("text", "shape", "labels", "divisor"),
    [
        ("", (5, 3), (5,), 5),
        ("loss_param { normalization: NONE }", (2, 3, 4), (2, 4), 1),
        ("loss_param { ignore_label: 1 normalization: FULL }", (2, 3, 2, 2), (2, 1, 2, 2), 8),
    ],
)
@pytest.mark.parametrize("from_file", [False, True])
def test_infogain(rng, tmp_path, text, shape, labels, divisor, from_file):
    scores, label = rng.standard_normal(shape).astype(np.float32), rng.integers(0, 3, labels)
    infogain = rng.uniform(0, 2, (3, 3)).astype(np.float32)
    rows, expected = np.moveaxis(scores, 1, -1).astype(np.float64), 0.0
    for where, of in zip(np.ndindex(rows.shape[:-1]), label.flat, strict=True):
        if "ignore_label" in text and of == 1:
            continue
        p = np.exp(rows[where]) / np.exp(rows[where]).sum()
        expected -= sum(infogain[of, c] * math.log(p[c]) for c in range(3))
    values = [scores, label]
    if from_file:
        (tmp_path / "H.binaryproto").write_bytes(io.array_to_blobproto(infogain[None, None]).SerializeToString())
        text = f'{text} infogain_loss_param {{ axis: {1 - len(shape)} source: "{tmp_path / "H.binaryproto"}" }}'
    else:
        values.append(infogain[None, None])
    case = case_of(f'type: "InfogainLoss" {text}', [np.shape(value) for value in values], values)
    check(case, expected / divisor)


def test_infogains_second_top_is_the_softmax(rng):
    case = build('type: "InfogainLoss" bottom: "x" bottom: "l" bottom: "H" top: "loss" top: "p"', [(2, 3), (2,), (9,)])
    case.bottom[0].data[...] = rng.standard_normal((2, 3))
    exponentials = np.exp(case.bottom[0].data)
    np.testing.assert_allclose(case.forward()[1], exponentials / exponentials.sum(axis=1, keepdims=True), 1e-6)


def test_multinomial_logistic(rng):
    p, labels = rng.uniform(0.1, 1, (5, 2, 2)).astype(np.float32), rng.integers(0, 4, 5)
    expected = -sum(math.log(p.reshape(5, 4)[n, labels[n]]) for n in range(5)) / 5
    case = case_of('type: "MultinomialLogisticLoss"', [(5, 2, 2), (5, 1, 1)], [p, labels[:, None, None]])
    check(case, expected, step=1e-3)


def test_multinomial_logistic_takes_no_logarithm_below_caffes_threshold():
    case = case_of('type: "MultinomialLogisticLoss"', [(1, 2), (1,)], [[[0, 1]], 0])
    np.testing.assert_allclose(case.forward()[0], -math.log(1e-20), 1e-6)
    case.top[0].diff[...] = 1
    np.testing.assert_allclose(case.backward()[0], [[-1e20, 0]], 1e-6)


@pytest.mark.parametrize(
    ("text", "divisor"),
    [
        ("", 3),
        ("loss_param { normalize: true }", 12),
        ("loss_param { normalization: NONE }", 1),
        ("loss_param { normalization: FULL ignore_label: -1 }", 12),
        ("loss_param { normalization: VALID ignore_label: -1 }", 8),
    ],
)
def test_sigmoid_cross_entropy(rng, text, divisor):
    x, t = 2 * rng.standard_normal((3, 4)).astype(np.float32), rng.uniform(0, 1, (3, 4)).astype(np.float32)
    if "ignore_label" in text:
        t[:, 1] = t[0, 0] = -1
    expected = 0.0
    for score, target in zip(x.flat, t.flat, strict=True):
        p = 1 / (1 + math.exp(-score))
        expected -= 0.0 if target == -1 else target * math.log(p) + (1 - target) * math.log(1 - p)
    check(case_of(f'type: "SigmoidCrossEntropyLoss" {text}', [(3, 4)] * 2, [x, t]), expected / divisor)


def test_sigmoid_cross_entropy_of_large_scores():
    case = case_of('type: "SigmoidCrossEntropyLoss"', [(1, 2)] * 2, [[[1e4, -1e4]], [[0, 1]]])
    assert case.forward()[0] == 2e4
    case.top[0].diff[...] = 1
    assert (case.backward()[0] == [[1, -1]]).all()


@pytest.mark.parametrize("bottoms", [2, 3, 4])
@pytest.mark.parametrize("sigma", [1, 3])
def test_smooth_l1(rng, bottoms, sigma):
    values = [*rng.standard_normal((2, 2, 3, 4)), *rng.uniform(0, 2, (2, 2, 3, 4))][:bottoms]
    values = [value.astype(np.float32) for value in values]
    ones, expected = np.ones((2, 3, 4)), 0.0
    for a, b, inside, outside in zip(*(v.flat for v in [*values, ones, ones][:4]), strict=True):
        x = abs(float(inside) * (float(a) - float(b)))
        expected += float(outside) * (sigma**2 * x * x / 2 if x < 1 / sigma**2 else x - 0.5 / sigma**2)
    text = f'type: "SmoothL1Loss" smooth_l1_loss_param {{ sigma: {sigma} }}'
    check(case_of(text, [(2, 3, 4)] * bottoms, values), expected / 2, bottoms=(0, 1), step=1e-3)


@pytest.mark.parametrize("bottoms", [1, 2])
@pytest.mark.parametrize("plateau", [0, 0.5])
def test_l1(rng, bottoms, plateau):
    values = rng.standard_normal((bottoms, 2, 3, 4)).astype(np.float32)
    size = np.abs(values[0] - (values[1] if bottoms == 2 else 0))
    text = f'type: "L1Loss" l1_loss_param {{ plateau: {plateau} }}'
    case = case_of(text, [(2, 3, 4)] * bottoms, values)
    check(case, size[size >= plateau].sum() / 2, bottoms=range(bottoms), step=1e-4)


@pytest.mark.parametrize("prescale", [False, True])
@pytest.mark.parametrize("plateau", [0, 1.2])
def test_l1_of_lengths(rng, prescale, plateau):
    values = rng.standard_normal((2, 2, 3, 4)).astype(np.float32)
    expected = 0.0
    for n, i in np.ndindex(2, 4):
        square = sum((float(values[0, n, c, i]) - float(values[1, n, c, i])) ** 2 for c in range(3))
        square /= 3 if prescale else 1
        expected += math.sqrt((square if square >= plateau**2 else 0) + 0.01)
    param = f"l2_per_location: true plateau: {plateau} l2_prescale_by_channels: {str(prescale).lower()}"
    case = case_of(f'type: "L1Loss" l1_loss_param {{ {param} }}', [(2, 3, 4)] * 2, values)
    check(case, expected / 2, bottoms=(0, 1), step=1e-3)


@pytest.mark.parametrize("l2", [False, True])
@pytest.mark.parametrize("by_entries", [False, True])
def test_l1_takes_nan_for_zero(l2, by_entries):
    param = f"l2_per_location: {l2} normalize_by_num_entries: {by_entries} epsilon: 0".lower()
    case = case_of(f'type: "L1Loss" l1_loss_param {{ {param} }}', [(1, 2, 2)], [[[[3, 0], [np.nan, 0]]]])
    divisor = 1.5 if by_entries else 1
    np.testing.assert_allclose(case.forward()[0], 3 / divisor, 1e-6)
    case.top[0].diff[...] = 6
    expected = [[[6, 0], [0, 0]]]
    np.testing.assert_allclose(case.backward()[0], np.array(expected) / divisor, 1e-6)


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


def test_a_missing_or_broken_infogain_file(tmp_path):
    text = 'type: "InfogainLoss" infogain_loss_param {{ source: "{}" }}'
    with pytest.raises(MissingFileError, match="nowhere"):
        build(text.format(tmp_path / "nowhere"), [(4, 3), (4,)])
    (tmp_path / "broken").write_bytes(b"\xff\xff\xff")
    with pytest.raises(LayerError, match="is not a binary BlobProto"):
        build(text.format(tmp_path / "broken"), [(4, 3), (4,)])
