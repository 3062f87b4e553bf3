"""Maps as pictures: scale, colours, places and sizes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffepy.errors import ArgumentError, MissingFileError
from caffepy.saliency import pictures
from caffepy.saliency.pictures import Panel


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE 1976 L* of sRGB values of 0 to 255 (IEC 61966-2-1, D65)."""
    v = rgb / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, y * (29 / 3) ** 3)


def picture_of(height: int, width: int, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_normalize_divides_by_the_99th_percentile_and_cuts_off() -> None:
    values = np.arange(101, dtype=np.float32).reshape(1, 101)  # its 99th percentile is 99
    normal = pictures.normalize(values)
    np.testing.assert_allclose(normal[0, :100], np.arange(100) / 99, rtol=1e-6)
    assert normal[0, 100] == 1


def test_normalize_a_map_with_few_values_above_zero() -> None:
    values = np.zeros((20, 20))
    values[3, 4], values[5, 6] = 8, 2
    normal = pictures.normalize(values)
    assert (normal[3, 4], normal[5, 6], normal.sum()) == (1, 0.25, 1.25)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (3, 1), (1e-38, 1), (1e38, 1)])
def test_a_constant_map_is_safe(value: float, expected: float) -> None:
    normal = pictures.normalize(np.full((4, 5), value))
    np.testing.assert_array_equal(normal, expected)
    panels = pictures.triptych(picture_of(4, 5), np.full((4, 5), value, np.float32), longest=20)
    assert np.isfinite(pictures.grid([panels])).all()


@pytest.mark.parametrize(
    "values", [np.array([[np.nan, 1]]), np.array([[np.inf]]), np.array([[-1, 2]]), np.empty((0, 3))]
)
def test_maps_that_are_none(values: np.ndarray) -> None:
    with pytest.raises(ArgumentError, match="expected finite values of at least 0"):
        pictures.normalize(values)


def test_equal_steps_of_a_value_look_equal() -> None:
    steps = np.linspace(0, 1, 201)
    found = lightness(pictures.heat(steps).astype(float))
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(found, 100 * steps, atol=2.5)


def test_heat_keeps_the_shape_and_cuts_off() -> None:
    colours = pictures.heat(np.array([[-1, 0, 1], [2, 0.5, 0.25]]))
    assert (colours.shape, colours.dtype) == ((2, 3, 3), np.uint8)
    np.testing.assert_array_equal(colours[0], [[0, 0, 0], [0, 0, 0], [255, 255, 255]])


def test_smooth_is_a_gaussian_average() -> None:
    values = np.zeros((41, 31), np.float32)
    values[20, 15] = 1
    found = pictures.smooth(values, 2.0)
    y, x = np.mgrid[-20:21, -15:16]
    np.testing.assert_allclose(found, np.exp(-(y**2 + x**2) / 8) / (8 * np.pi), atol=1e-6)
    np.testing.assert_allclose(pictures.smooth(np.full((3, 9), 5), 2.0), 5, rtol=1e-6)


def test_an_overlay_changes_the_picture_most_where_the_map_is_highest() -> None:
    values = np.random.default_rng(0).random((30, 40)).astype(np.float32) * 0.3
    values[7, 33] = 1
    plain = pictures.overlay(picture_of(30, 40), np.zeros((30, 40), np.float32)).astype(int)
    over = pictures.overlay(picture_of(30, 40), values).astype(int)
    change = np.abs(over - plain).sum(axis=2)
    assert np.unravel_index(change.argmax(), change.shape) == (7, 33)


def test_an_overlay_of_nothing_is_the_grey_picture() -> None:
    picture = np.zeros((1, 3, 3), np.uint8)
    picture[0, 0, 0] = picture[0, 1, 1] = picture[0, 2, 2] = 255
    grey = pictures.overlay(picture, np.zeros((1, 3), np.float32))
    assert (grey == grey[:, :, :1]).all()
    assert grey[0, 1, 0] > grey[0, 0, 0] > grey[0, 2, 0]


def test_an_overlay_needs_a_map_of_the_pictures_size() -> None:
    with pytest.raises(ArgumentError, match=r"the picture is \(4, 5\) \(height, width\), the map \(5, 4\)"):
        pictures.overlay(picture_of(4, 5), np.zeros((5, 4), np.float32))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 3)])
def test_to_picture(shape: tuple[int, ...]) -> None:
    picture = pictures.to_picture(np.full(shape, 0.5, np.float32))
    assert (picture.shape, picture.dtype) == ((2, 3, 3), np.uint8)
    assert (picture == 128).all()


def test_to_picture_refuses_other_shapes() -> None:
    with pytest.raises(ArgumentError, match=r"got shape \(3, 4, 2\)"):
        pictures.to_picture(np.zeros((3, 4, 2)))


def test_the_peak_stays_in_its_place_when_a_map_is_enlarged() -> None:
    saliency = np.zeros((28, 28), np.float32)
    saliency[20, 3] = 1
    shown, heat, over = (
        panel.picture.astype(int) for panel in pictures.triptych(picture_of(28, 28), saliency, longest=280)
    )
    assert shown.shape == heat.shape == over.shape == (280, 280, 3)
    inside = np.zeros((280, 280), bool)
    inside[200:210, 30:40] = True
    assert (heat[inside] == 255).all()
    assert (heat[~inside] == 0).all()
    brightest = over.sum(axis=2) == over.sum(axis=2).max()
    assert brightest[inside].all()
    assert brightest.sum() == brightest[190:220, 20:50].sum()  # smoothing reaches the neighbours


@pytest.mark.parametrize(
    ("size", "expected"), [((360, 480), (360, 480)), ((3000, 1000), (480, 160)), ((1, 700), (1, 480))]
)
def test_a_triptych_keeps_proportions(size: tuple[int, int], expected: tuple[int, int]) -> None:
    panels = pictures.triptych(picture_of(*size), np.ones((27, 23), np.float32), ("a", "b", "c"))
    assert [panel.picture.shape[:2] for panel in panels] == [expected] * 3
    assert [panel.caption for panel in panels] == ["a", "b", "c"]


def test_a_grid_holds_every_panel_and_caption() -> None:
    reds = [np.full((h, w, 3), (255, 0, 0), np.uint8) for h, w in ((10, 30), (20, 10), (15, 40))]
    canvas = pictures.grid([[Panel(reds[0], "a"), Panel(reds[1])], [Panel(reds[2])]], text_size=12, gap=5)
    assert canvas.shape == (20 + 15 + 2 * 18 + 3 * 5, 40 + 10 + 3 * 5, 3)
    red = (canvas == (255, 0, 0)).all(axis=2)
    assert red.sum() == 10 * 30 + 20 * 10 + 15 * 40
    assert red[5:15, 5:35].all()
    assert red[5:25, 50:60].all()
    assert red[48:63, 5:45].all()
    assert (canvas[25:43, 5:45] < 128).any()  # the caption
    assert (canvas[25:43, 50:60] == 255).all()


def test_long_captions_do_not_reach_the_next_panel() -> None:
    row = [Panel(picture_of(10, 80), "a caption that is far too long for eighty pixels"), Panel(picture_of(10, 80))]
    canvas = pictures.grid([row], gap=10)
    assert (canvas[20:, 10:90] < 128).any()
    assert (canvas[20:, 90:] == 255).all()


@pytest.mark.parametrize("rows", [[], [[]]])
def test_an_empty_grid(rows: list[list[Panel]]) -> None:
    with pytest.raises(ArgumentError, match="at least one row"):
        pictures.grid(rows)


def test_save(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    pictures.save(picture, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        np.testing.assert_array_equal(np.array(saved), picture)


def test_save_errors(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"give it the suffix .png or .jpg"):
        pictures.save(picture_of(1, 1), tmp_path / "a.what")
    with pytest.raises(MissingFileError, match="No such file or directory"):
        pictures.save(picture_of(1, 1), tmp_path / "none" / "a.png")
