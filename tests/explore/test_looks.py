"""Sheets of feature maps, gradients and filters: what is in their cells."""

from pathlib import Path

import numpy as np
import pytest

import caffepy
from caffepy import saliency
from caffepy.errors import ArgumentError, UnknownBlobError, UnknownLayerError
from caffepy.explore import looks
from tests.explore.nets import branches, picture, saved


@pytest.fixture
def net(tmp_path: Path):
    model, weights = saved(tmp_path, branches(1))
    with caffepy.Net(str(model), caffepy.TEST, weights=str(weights)) as opened:
        yield opened


def test_features_are_sorted_by_their_largest_value(net, tmp_path: Path) -> None:
    sheet = looks.features(net, str(picture(tmp_path)), "conv1")
    data = net.blob("conv1").data[0]
    assert sheet.channels == tuple(int(i) for i in np.argsort([-plane.max() for plane in data], kind="stable"))
    assert sheet.values == pytest.approx([data[i].max() for i in sheet.channels])
    assert sheet.total == 4
    top = np.percentile(data, 99.9)
    for channel, cell in zip(sheet.channels, sheet.cells, strict=True):
        large = saliency.pictures.resize(np.clip(data[channel] / top, -1, 1), cell.shape[:2], "nearest")
        assert np.array_equal(cell, saliency.pictures.heat(large))


def test_a_part_of_them(net, tmp_path: Path) -> None:
    whole = looks.features(net, str(picture(tmp_path)), "conv1")
    part = looks.features(net, str(picture(tmp_path)), "conv1", first=1, count=2)
    assert (part.channels, part.total) == (whole.channels[1:3], 4)


def test_values_without_places_have_no_cells(net, tmp_path: Path) -> None:
    sheet = looks.features(net, str(picture(tmp_path)), "fc")
    assert (len(sheet.channels), sheet.cells) == (7, ())
    values = net.blob("fc").data[0]
    assert sheet.values == pytest.approx([values[i] for i in sheet.channels])
    sheet.save(tmp_path / "fc.png")
    assert (tmp_path / "fc.png").stat().st_size > 0


def test_gradients_are_those_of_the_class(net, tmp_path: Path) -> None:
    image = str(picture(tmp_path))
    sheet = looks.gradients(net, image, "block0/left", 2)
    found = saliency.gradient(net, image, 2, layer="block0/left").numpy()[0]
    strongest = [plane.flat[np.abs(plane).argmax()] for plane in found]
    assert sheet.channels == tuple(int(i) for i in np.argsort(-np.abs(strongest), kind="stable"))
    assert sheet.values == pytest.approx([strongest[i] for i in sheet.channels])


def test_filters_are_shown_in_red_green_blue(net) -> None:
    sheet = looks.filters(net, "conv1")
    weights = net.params["conv1"][0].data
    assert sheet.channels == (0, 1, 2, 3)
    for i, cell in enumerate(sheet.cells):
        step = cell.shape[0] // 3
        expected = 255 * (0.5 + 0.5 * weights[i] / np.abs(weights[i]).max())
        shown = cell[step // 2 :: step, step // 2 :: step]
        assert np.abs(shown.astype(float) - expected[::-1].transpose(1, 2, 0)).max() <= 0.51


def test_what_cannot_be_looked_at(net, tmp_path: Path) -> None:
    image = str(picture(tmp_path))
    with pytest.raises(ArgumentError, match="only \\(N, 1 or 3, height, width\\)"):
        looks.filters(net, "block0/left")
    with pytest.raises(UnknownLayerError, match="'conv2'; did you mean 'conv1'"):
        looks.filters(net, "conv2")
    with pytest.raises(UnknownBlobError):
        looks.features(net, image, "conv9")
    net.params["fc"][0].data[...] = np.nan
    with pytest.raises(ArgumentError, match="not finite"):
        looks.features(net, image, "fc")
    with (
        caffepy.Net(_prototxt(tmp_path, 'input: "words" input_shape { dim: 1 dim: 5 }'), caffepy.TEST) as without,
        pytest.raises(ArgumentError, match="input 'words' is 1x5; pictures can be looked at in nets whose input"),
    ):
        looks.features(without, image, "words")


def _prototxt(folder: Path, text: str) -> str:
    path = folder / "other.prototxt"
    path.write_text(text)
    return str(path)
