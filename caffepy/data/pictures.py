"""Pictures decoded to the bytes that OpenCV's imread and imdecode give Caffe: BGR, eight bits, no transparency."""

import io
import logging
from typing import Any

import numpy as np

from caffepy.data.bilinear import Picture, resize
from caffepy.data.files import PathLike, read_file
from caffepy.errors import DataError
from caffepy.io.pictures import DAMAGED
from caffepy.limits import in_force, most_memory, too_much

log = logging.getLogger("caffepy")

_END_OF_JPEG = b"\xff\xd9"
_ORIENTATION = 274
_BYTES = 20  # a pixel takes at most while it is decoded


def read_picture(path: PathLike, color: bool, height: int = 0, width: int = 0) -> Picture:
    """The file's picture, in colour or grey, resized if height and width are above 0 (ReadImageToCVMat: io.cpp).

    Raises MissingFileError, or DataError for a file that is no picture.
    """
    picture = decode(read_file(path), color, f"picture {str(path)!r}")
    return resize(picture, height, width) if height > 0 and width > 0 else picture


def decode(data: bytes, color: bool | None, what: str) -> Picture:
    """An encoded picture's bytes.

    color   True: always three channels; False: always grey; None: as the file has it, alpha and all, not turned by its
            EXIF orientation (imdecode with IMREAD_UNCHANGED)
    what    names the picture in messages

    A JPEG that ends too early is decoded as far as it goes, with a warning. Raises DataError for any other damage, for
    formats and for more pixels than the limits in force allow, and without `color` for 16 bits a channel.
    """
    from PIL import Image

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        try:
            return _decode(data, color, what)
        except OSError as error:
            if not data.startswith(b"\xff\xd8") or "truncated" not in str(error):
                raise
            log.warning("%s ends too early; what is missing stays grey", what)
            return _decode(data + _END_OF_JPEG, color, what)
    except DataError:
        raise
    except bombs as error:
        raise DataError(f"{what}: {error}; at most {in_force().pixels} pixels are read") from error
    except DAMAGED as error:
        reason = "no PNG, JPEG, BMP, GIF, PNM, TIFF or WebP" if "cannot identify" in str(error) else error
        raise DataError(f"{what} cannot be decoded: {reason}") from error


def _decode(data: bytes, color: bool | None, what: str) -> Picture:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=in_force().formats) as image:
        if image.width * image.height > (most := in_force().pixels):
            raise DataError(f"{what} has {image.width} x {image.height} pixels; at most {most} are read")
        if (size := _BYTES * image.width * image.height) > (memory := most_memory()):
            raise DataError(f"{what} has {image.width} x {image.height} pixels, which {too_much(size, memory)}")
        if color is None and _sixteen_bits(image):
            raise DataError(f"{what} has 16 bits a channel, and a net takes 8; convert it, or give force_color")
        turned = color is not None and image.format in ("JPEG", "PNG") and "exif" in image.info
        orientation = _orientation(image) if turned else 1
        if color is False and image.format == "JPEG" and image.mode == "RGB":
            image.draft("L", None)  # luminance as the file has it, not computed from colours
        pixels = _pixels(image)
        grey = pixels.ndim == 2
        if color is False and not grey:
            pixels = _grey(pixels[..., :3], image.format, _gamma(image.info))
        elif color and grey:
            pixels = np.broadcast_to(pixels[..., np.newaxis], (*pixels.shape, 3))
        elif color:
            pixels = pixels[..., :3]
    return pixels if orientation == 1 else _turned(pixels, orientation)


def _sixteen_bits(image: Any) -> bool:
    raw_modes = (tile[3] if isinstance(tile[3], str) else tile[3][0] for tile in image.tile if tile[3])
    return image.mode.startswith("I") or any(";16" in str(raw_mode) for raw_mode in raw_modes)


def _pixels(image: Any) -> Picture:
    """The image's values, channels last and reversed."""
    mode = image.mode
    if mode.startswith("I"):
        return (np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)
    if mode == "F":
        raise DataError("a picture of floating-point values is no input of Caffe's")
    if mode == "1":
        image = image.convert("L")
    elif mode in ("P", "PA", "RGB"):
        wanted = "RGBA" if mode == "PA" or "transparency" in image.info else "RGB"
        image = image if mode == wanted else image.convert(wanted)
    elif mode in ("LA", "La", "RGBa"):
        image = image.convert("RGBA")
    elif mode == "CMYK":
        return _of_cmyk(255 - np.asarray(image))
    elif (mode == "RGBA" and image.format == "BMP") or mode not in ("L", "RGBA"):
        image = image.convert("RGB")
    pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, -1)
    if pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    else:
        pixels = pixels[..., [2, 1, 0, 3]] if pixels.shape[2] == 4 else pixels[..., ::-1]
    return _premultiplied(pixels) if image.format == "TIFF" and mode == "RGBA" else pixels


def _premultiplied(pixels: Picture) -> Picture:
    """What libtiff makes of colours beside an alpha channel: colour * alpha / 255, rounded."""
    colours, alpha = pixels[..., :3].astype(np.uint16), pixels[..., 3:]
    return np.concatenate([((colours * alpha + 127) // 255).astype(np.uint8), alpha], axis=2)


def _of_cmyk(values: Picture) -> Picture:
    """Inks as the JPEG stores them -> BGR: k - (255 - ink) * k / 256, rounded down before it is subtracted."""
    inks, black = values[..., 2::-1].astype(np.int32), values[..., 3:].astype(np.int32)
    return (black - ((255 - inks) * black >> 8)).astype(np.uint8)


def _gamma(info: dict[Any, Any]) -> float:
    """A PNG's exponent, by which libpng weighs colours; 1 where it says none, or next to none."""
    gamma = 0.45455 if "srgb" in info else float(info.get("gamma", 1))
    return 1 if 0.95 <= gamma <= 1.05 or gamma <= 0 else gamma


def _grey(pixels: Picture, file_format: str | None, gamma: float) -> Picture:
    """BGR -> luminance, in the arithmetic of the library that decodes the format for OpenCV."""
    blue, green, red = (pixels[..., i].astype(np.int32) for i in range(3))
    if file_format == "PNG":  # libpng's, which leaves greys alone, and rounds down unless it goes by light
        even = (red == green) & (red == blue)
        if gamma == 1:
            luminance = 9797 * red + 19234 * green + 3737 * blue >> 15
            return np.where(even, red, luminance).astype(np.uint8)
        steps = np.arange(256) / 255
        light, value = (np.floor(255 * steps**power + 0.5).astype(np.int32) for power in (1 / gamma, gamma))
        luminance = value[9797 * light[red] + 19234 * light[green] + 3737 * light[blue] + (1 << 14) >> 15]
        return np.where(even, red, luminance).astype(np.uint8)
    if file_format == "WEBP":
        return (9798 * red + 19235 * green + 3735 * blue + (1 << 14) >> 15).astype(np.uint8)
    return (4899 * red + 9617 * green + 1868 * blue + (1 << 13) >> 14).astype(np.uint8)


def _orientation(image: Any) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (ValueError, TypeError, SyntaxError, KeyError, OSError):  # metadata may be anything
        return 1


def _turned(pixels: Picture, orientation: int) -> Picture:
    """The picture upright: EXIF's orientation 2 to 8 undone."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
