"""load_image: every kind of picture, and what is none."""

import io as streams
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffepy import io
from caffepy.errors import ArgumentError, CaffeError, MissingFileError
from caffepy.limits import Limits, applied
from tests.io.numbers import RANDOM

BYTES = RANDOM.integers(0, 256, (6, 5, 4)).astype(np.uint8)
WIDE = RANDOM.integers(0, 65536, (6, 5)).astype(np.uint16)
RGB, GREY = BYTES[:, :, :3].copy(), BYTES[:, :, 0].copy()


@pytest.mark.parametrize(
    ("saved", "name", "wanted"),
    [
        (Image.fromarray(RGB), "rgb.png", RGB / 255),
        (Image.fromarray(RGB), "rgb.bmp", RGB / 255),
        (Image.fromarray(BYTES), "rgba.png", RGB / 255),
        (Image.fromarray(GREY), "grey.png", GREY / 255),
        (Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(BYTES[:, :, 3].copy())]), "la.png", GREY / 255),
        (Image.fromarray(GREY > 99), "bits.png", GREY > 99),
        (Image.fromarray(WIDE), "wide.png", WIDE / 65535),
        (Image.fromarray(WIDE), "wide.tif", WIDE / 65535),
        (Image.fromarray(WIDE.astype(np.float32)), "float.tif", WIDE),
        (Image.fromarray(WIDE.astype(np.int32) << 15), "int.tif", WIDE * 2.0**15 / (2**31 - 1)),
        (Image.fromarray(RGB).quantize(40), "palette.png", RGB / 255),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_load_image_by_mode(saved: Image.Image, name: str, wanted: np.ndarray, tmp_path: Path) -> None:
    saved.save(tmp_path / name)
    color, plain = io.load_image(tmp_path / name), io.load_image(str(tmp_path / name), color=False)
    wanted = wanted[:, :, np.newaxis] if wanted.ndim == 2 else wanted
    assert color.dtype == plain.dtype == np.float32
    if wanted.shape[2] == 1:
        wanted = np.repeat(wanted, 3, axis=2)
    np.testing.assert_allclose(color, wanted, rtol=2e-7, atol=1e-9)
    grey = 0.2125 * wanted[:, :, :1] + 0.7154 * wanted[:, :, 1:2] + 0.0721 * wanted[:, :, 2:]
    np.testing.assert_allclose(plain, grey, rtol=1e-6, atol=1e-7)


def test_load_image_of_a_16_bit_pgm(tmp_path: Path) -> None:
    (tmp_path / "wide.pgm").write_bytes(b"P5 5 6 65535\n" + WIDE.astype(">u2").tobytes())
    np.testing.assert_allclose(io.load_image(tmp_path / "wide.pgm", color=False)[:, :, 0], WIDE / 65535, rtol=2e-7)


def test_load_image_of_a_cmyk_file(tmp_path: Path) -> None:
    cmyk = Image.fromarray(RGB).convert("CMYK")
    cmyk.save(tmp_path / "cmyk.tif")
    np.testing.assert_allclose(io.load_image(tmp_path / "cmyk.tif"), RGB / 255, atol=2 / 255)


def test_load_image_ignores_a_palettes_transparency(tmp_path: Path) -> None:
    opaque = Image.fromarray(RGB).quantize(40)
    opaque.save(tmp_path / "seethrough.png", transparency=bytes(range(40)))
    np.testing.assert_array_equal(io.load_image(tmp_path / "seethrough.png"), io.load_image(saved_png(opaque)))


def saved_png(image: Image.Image) -> streams.BytesIO:
    file = streams.BytesIO()
    image.save(file, "PNG")
    file.seek(0)
    return file


def test_load_image_does_not_apply_the_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees
    Image.fromarray(RGB).save(tmp_path / "turned.jpg", exif=exif)
    assert io.load_image(tmp_path / "turned.jpg").shape == (6, 5, 3)


def test_load_image_gives_an_animations_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (5, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(io.load_image(tmp_path / "moving.gif")[2, 2], [1, 0, 0])


def test_a_missing_picture_is_a_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(MissingFileError, match=r"load_image: cannot open '.*' \(.*\): give the path of a picture"):
            io.load_image(path)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "half.png").write_bytes(saved_png(Image.fromarray(RGB)).getvalue()[:60])
    for path in (tmp_path / "text.jpg", tmp_path / "half.png"):
        with pytest.raises(ArgumentError, match=r"is no picture Pillow can read"):
            io.load_image(path)
    with pytest.raises(ArgumentError, match="expected a path or an open binary file, found None"):
        io.load_image(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"DDS " + bytes(200), b"icns" + bytes(60)]
)
def test_only_common_formats_reach_a_decoder(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "picture.png").write_bytes(content)
    with pytest.raises(CaffeError, match="give a whole PNG, JPEG, BMP, GIF, PNM, TIFF or WebP"):
        io.load_image(tmp_path / "picture.png")


def test_a_pipe_is_no_picture_and_the_number_of_pixels_is_limited(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(MissingFileError, match="is no regular file but a pipe or device"):
        io.load_image(tmp_path / "pipe.png")
    Image.new("1", (30, 20)).save(tmp_path / "large.png")
    with applied(Limits(pixels=599)), pytest.raises(CaffeError, match="30 x 20 pixels; at most 599 are read"):
        io.load_image(tmp_path / "large.png")
