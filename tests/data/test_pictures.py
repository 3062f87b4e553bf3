"""Decoding, greys and sizes beside OpenCV's own, byte for byte: formats, depths, palettes, transparency, metadata."""

import io
import logging

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from caffepy.data import decode, read_picture, resize
from caffepy.errors import DataError
from tests.golden_data import FOLDER

cv2 = pytest.importorskip("cv2", reason="OpenCV, whose numbers these are, is not installed")

CHANCE = np.random.RandomState(0)
NOISE = Image.fromarray(CHANCE.randint(0, 256, (37, 41, 3)).astype(np.uint8))
SMOOTH = NOISE.resize((80, 64))
GREY = NOISE.convert("L")
SEEN_THROUGH = Image.fromarray(CHANCE.randint(0, 256, (37, 41, 4)).astype(np.uint8), "RGBA")
PALETTE = SMOOTH.convert("P", palette=Image.Palette.ADAPTIVE)
DEEP = Image.fromarray(CHANCE.randint(0, 65536, (20, 21)).astype(np.uint16))


def said(kind: bytes, content: bytes) -> dict:
    info = PngImagePlugin.PngInfo()
    info.add(kind, content)
    return {"pnginfo": info}


def turned(orientation: int) -> dict:
    exif = Image.Exif()
    exif[274] = orientation
    return {"exif": exif}


PICTURES = {
    "png": (NOISE, "PNG", {}),
    "png grey": (GREY, "PNG", {}),
    "png alpha": (SEEN_THROUGH, "PNG", {}),
    "png grey alpha": (SEEN_THROUGH.convert("LA"), "PNG", {}),
    "png palette": (PALETTE, "PNG", {}),
    "png one bit": (GREY.convert("1"), "PNG", {}),
    "png palette, one transparent": (PALETTE, "PNG", {"transparency": 3}),
    "png grey, one transparent": (GREY, "PNG", {"transparency": 3}),
    "png, one transparent": (NOISE, "PNG", {"transparency": (1, 2, 3)}),
    "png gamma 2.2": (NOISE, "PNG", said(b"gAMA", (45455).to_bytes(4, "big"))),
    "png gamma 1.8": (NOISE, "PNG", said(b"gAMA", (55556).to_bytes(4, "big"))),
    "png gamma 1": (NOISE, "PNG", said(b"gAMA", (100_000).to_bytes(4, "big"))),
    "png sRGB": (NOISE, "PNG", said(b"sRGB", b"\0")),
    "jpeg grey": (GREY, "JPEG", {}),
    "jpeg cmyk": (SMOOTH.convert("CMYK"), "JPEG", {}),
    "jpeg progressive": (SMOOTH, "JPEG", {"progressive": True}),
    "jpeg of rgb": (SMOOTH, "JPEG", {"keep_rgb": True}),
    "bmp": (SMOOTH, "BMP", {}),
    "bmp grey": (GREY, "BMP", {}),
    "bmp palette": (PALETTE, "BMP", {}),
    "bmp alpha": (SEEN_THROUGH, "BMP", {}),
    "ppm": (SMOOTH, "PPM", {}),
    "pgm": (GREY, "PPM", {}),
    "tiff": (SMOOTH, "TIFF", {}),
    "tiff grey": (GREY, "TIFF", {}),
    "tiff alpha": (SEEN_THROUGH, "TIFF", {}),
    "webp": (SMOOTH, "WEBP", {"lossless": True}),
    "webp lossy": (SMOOTH, "WEBP", {"quality": 80}),
    "webp alpha": (SEEN_THROUGH, "WEBP", {"lossless": True}),
}
PICTURES |= {
    f"jpeg quality {quality} subsampling {subsampling}": (
        SMOOTH,
        "JPEG",
        {"quality": quality, "subsampling": subsampling},
    )
    for quality in (50, 95)
    for subsampling in (0, 1, 2)
}
PICTURES |= {f"jpeg turned {orientation}": (SMOOTH, "JPEG", turned(orientation)) for orientation in range(1, 9)}


def encoded(name: str) -> bytes:
    image, kind, settings = PICTURES[name]
    out = io.BytesIO()
    image.save(out, kind, **settings)
    return out.getvalue()


@pytest.mark.parametrize("name", PICTURES)
def test_decoding_is_opencvs(name):
    data = encoded(name)
    for color, flag in ((True, cv2.IMREAD_COLOR), (False, cv2.IMREAD_GRAYSCALE), (None, cv2.IMREAD_UNCHANGED)):
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
        found = decode(data, color, "it")
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected, err_msg=f"color={color}")


def test_sixteen_bits_are_halved_or_refused():
    out = io.BytesIO()
    DEEP.save(out, "PNG")
    for color, flag in ((True, cv2.IMREAD_COLOR), (False, cv2.IMREAD_GRAYSCALE)):
        expected = cv2.imdecode(np.frombuffer(out.getvalue(), np.uint8), flag)
        np.testing.assert_array_equal(decode(out.getvalue(), color, "it"), expected)
    with pytest.raises(DataError, match="it has 16 bits a channel, and a net takes 8"):
        decode(out.getvalue(), None, "it")


def test_a_jpeg_cut_short_is_decoded_as_far_as_it_goes(caplog):
    whole = encoded("jpeg quality 95 subsampling 2")
    with caplog.at_level(logging.WARNING, "caffepy"):
        part = decode(whole[: len(whole) * 2 // 3], True, "picture 'a.jpg'")
    np.testing.assert_array_equal(part[:16], decode(whole, True, "it")[:16])
    assert "picture 'a.jpg' ends too early" in caplog.text
    with pytest.raises(DataError):
        decode(encoded("png")[:1000], True, "it")


def test_a_file_is_read_and_resized():
    path = FOLDER / "images/a9_v.jpg"
    whole = cv2.imread(str(path))
    np.testing.assert_array_equal(read_picture(path, True), whole)
    np.testing.assert_array_equal(read_picture(path, True, 20, 31), cv2.resize(whole, (31, 20)))
    np.testing.assert_array_equal(read_picture(path, True, 20, 0), whole)


@pytest.mark.parametrize("seed", range(60))
def test_sizes_are_opencvs(seed):
    chance = np.random.RandomState(seed)
    height, width, new_height, new_width = (int(n) for n in chance.randint(1, 90, 4))
    if seed % 6 == 0:
        height, width = 2 * new_height, 2 * new_width
    for shape in ((height, width), (height, width, 3), (height, width, 4)):
        picture = chance.randint(0, 256, shape).astype(np.uint8)
        np.testing.assert_array_equal(
            resize(picture, new_height, new_width), cv2.resize(picture, (new_width, new_height))
        )
