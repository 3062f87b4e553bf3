"""InfogainLoss against its definition, and where its matrix comes from."""

import math

import numpy as np
import pytest

from caffepy import io
from caffepy.errors import LayerError, MissingFileError
from tests.layers.loss.checks import case_of, check
from tests.layers.runner import build


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


def test_a_missing_or_broken_infogain_file(tmp_path):
    text = 'type: "InfogainLoss" infogain_loss_param {{ source: "{}" }}'
    with pytest.raises(MissingFileError, match="nowhere"):
        build(text.format(tmp_path / "nowhere"), [(4, 3), (4,)])
    (tmp_path / "broken").write_bytes(b"\xff\xff\xff")
    with pytest.raises(LayerError, match="is not a binary BlobProto"):
        build(text.format(tmp_path / "broken"), [(4, 3), (4,)])
