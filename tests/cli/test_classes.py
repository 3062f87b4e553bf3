"""Labels, and classes by name."""

from pathlib import Path

import numpy as np
import pytest

from caffepy.cli.classes import Classes, find_target
from caffepy.errors import ArgumentError, MissingFileError
from caffepy.saliency.labels import find_class, read_labels
from tests.cli.models import LABELS


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("tabby", 0),
        ("Tabby Cat", 0),
        ("tabby, tabby cat", 0),
        ("tiger cat", 1),
        ("hound", 5),
        ("egypt", 6),
        (" snail ", 3),
    ],
)
def test_find_class(name: str, index: int) -> None:
    assert find_class(name, LABELS) == index


def test_a_name_of_several_classes_lists_them() -> None:
    with pytest.raises(ArgumentError, match="2 labels match 'crane': 2 'crane', 4 'crane'; give the index of one"):
        find_class("crane", LABELS)
    with pytest.raises(ArgumentError, match="3 labels match 'cat'"):
        find_class("cat", LABELS)


def test_an_unknown_name() -> None:
    with pytest.raises(ArgumentError, match="no label matches 'lizard'"):
        find_class("lizard", LABELS)


@pytest.mark.parametrize(("target", "found"), [("top", "top"), ("3", 3), ("-1", -1), ("snail", 3)])
def test_find_target(target: str, found: int | str) -> None:
    assert find_target(target, LABELS) == found


def test_a_name_needs_labels() -> None:
    with pytest.raises(ArgumentError, match=r"target 'snail' is no class index; .* --labels FILE"):
        find_target("snail", None)


def test_read_labels_drops_wordnet_ids(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(b"\xef\xbb\xbfn01440764 tench, Tinca tinca\r\nn02 goldfish\r\n\r\n")
    assert read_labels(path, 2) == ["tench, Tinca tinca", "n02 goldfish"]


def test_label_errors(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    with pytest.raises(MissingFileError, match=r"cannot be opened .No such file"):
        read_labels(path, 2)
    path.write_text("a\nb\nc\n")
    with pytest.raises(ArgumentError, match="has 3 lines, the net 2 classes"):
        read_labels(path, 2)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArgumentError, match="no UTF-8 text"):
        read_labels(path, 2)


def test_classes_in_words() -> None:
    classes = Classes(np.array([0.1, 0.4, 0.1, 0.4], np.float32), ["a", "b", "c", "d"])
    assert classes.top(3) == [1, 3, 0]
    assert classes.name(2) == "c"
    assert Classes(classes.values).name(2) == "class 2"
    assert (classes.numbered(2), Classes(classes.values).numbered(2)) == ("2 c", "2")
    assert classes.entry(1) == {"index": 1, "label": "b", "value": pytest.approx(0.4)}
    assert Classes(classes.values).entry(1)["label"] is None
