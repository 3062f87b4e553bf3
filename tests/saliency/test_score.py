"""Which blob, which classes, which diff."""

from typing import Any

import numpy as np
import pytest

from caffepy.errors import ArgumentError, UnknownBlobError
from caffepy.saliency import class_score, class_values
from tests.nets import FORK, make, noise
from tests.saliency.nets import CLASSIFIER, DENSE, POOLED


def run(text: str) -> Any:
    net = make(text)
    net.forward(data=noise(2, 3, 5, 4))
    return net


def test_the_score_is_the_one_that_enters_the_softmax() -> None:
    score = class_score(run(CLASSIFIER), 4)
    assert score.blob == ("fc", "fc")
    assert score.classes == (4, 4)
    expected = np.zeros((2, 6))
    expected[:, 4] = 1
    np.testing.assert_array_equal(score.diff, expected)


def test_the_score_is_the_probability_when_asked_for() -> None:
    assert class_score(run(CLASSIFIER), 4, before_softmax=False).blob == "prob"


@pytest.mark.parametrize(("output", "blob"), [(None, "pool"), ("score", "score")])
def test_any_blob_without_a_softmax_is_itself_the_score(output: str | None, blob: str) -> None:
    assert class_score(run(POOLED), 0, output=output).blob == blob


def test_a_softmax_whose_bottom_has_other_consumers_is_found() -> None:
    net = run(CLASSIFIER + 'layer { name: "also" type: "TanH" bottom: "fc" top: "also" }')
    blob = class_score(net, 0, output="prob").blob
    assert blob[0].startswith("fc_fc_0_split_")


def test_dense_scores_are_summed_over_positions() -> None:
    score = class_score(run(DENSE), [1, 5])
    assert score.diff.shape == (2, 6, 4, 3)
    expected = np.zeros((2, 6, 4, 3))
    expected[0, 1] = expected[1, 5] = 1
    np.testing.assert_array_equal(score.diff, expected)


@pytest.mark.parametrize(("text", "blob"), [(CLASSIFIER, "fc"), (DENSE, "score"), (POOLED, "pool")])
def test_top_is_each_images_class_of_the_highest_score(text: str, blob: str) -> None:
    net = run(text)
    values = net.blobs[blob].data
    best = [max(range(6), key=lambda c: values[n, c].sum()) for n in range(2)]
    assert list(class_score(net).classes) == best


def test_numpy_integers_are_class_indices() -> None:
    assert class_score(run(POOLED), np.array([2, 3])).classes == (2, 3)
    assert class_score(run(POOLED), np.int64(2)).classes == (2, 2)


def test_class_values_average_over_positions() -> None:
    net = run(DENSE)
    np.testing.assert_allclose(class_values(net), net.blobs["prob"].data.mean(axis=(2, 3)), rtol=1e-6)
    np.testing.assert_allclose(class_values(net).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (6, "target 6 is out of range: the net has 6 classes, give 0 to 5"),
        (-1, "target -1 is out of range"),
        ([0, 1, 2], r"3 targets for a batch of 2 image\(s\)"),
        ([0, 1.5], "expected whole numbers"),
        (None, "expected whole numbers"),
        ("cat", "target is 'cat'; expected a class index, one for each image, or 'top'"),
    ],
)
def test_bad_targets(target: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        class_score(run(CLASSIFIER), target)


def test_a_net_with_several_outputs_needs_a_choice() -> None:
    with pytest.raises(ArgumentError, match="one output, found 'side', 'sum', 'unused'; choose a blob with `output`"):
        class_score(make(FORK))


def test_an_output_of_another_shape_is_refused() -> None:
    net = make('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 7 } } }')
    with pytest.raises(ArgumentError, match=r"blob 'x' has shape \(7,\)"):
        class_score(net)


def test_an_unknown_output() -> None:
    with pytest.raises(UnknownBlobError, match="no blob 'probe'; did you mean 'prob'"):
        class_score(run(CLASSIFIER), output="probe")
