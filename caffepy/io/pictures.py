"""Pictures from files."""

import os
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from caffepy.errors import ArgumentError, ImageError, MissingFileError
from caffepy.limits import in_force, most_memory, too_much
from caffepy.proto.files import check_regular

Array = npt.NDArray[Any]
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, KeyError, MemoryError)
"""What Pillow raises for a damaged picture."""
_BYTES = 28  # a pixel takes while it is read: decoded, in colour, and three floats of it twice


def load_image(filename: str | os.PathLike[str] | IO[bytes], color: bool = True) -> Array:
    """The picture as float32 RGB in [0, 1], (height, width, 3); without `color` its luminance, (height, width, 1).

    Transparency is dropped, an orientation in the file's metadata is not applied, an animation gives its first
    frame, 16-bit greys keep their precision, and floating-point pictures their values.
    Raises MissingFileError, or ImageError for a file that is no picture.
    """
    from PIL import Image

    if not (isinstance(filename, str | os.PathLike) or hasattr(filename, "read")):
        raise ArgumentError(f"load_image: expected a path or an open binary file, found {filename!r}")
    try:
        if isinstance(filename, str | os.PathLike):
            check_regular(filename)
        with Image.open(filename, formats=in_force().formats) as picture:
            if picture.width * picture.height > (most := in_force().pixels):
                raise ValueError(f"{picture.width} x {picture.height} pixels; at most {most} are read")
            if (size := _BYTES * picture.width * picture.height) > (most := most_memory()):
                raise ValueError(f"{picture.width} x {picture.height} pixels {too_much(size, most)}")
            pixels = _pixels(picture)
    except MissingFileError:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise MissingFileError(
            f"load_image: cannot open '{filename}' ({error.strerror}): give the path of a picture"
        ) from error
    except (*DAMAGED, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"load_image: '{filename}' is no picture Pillow can read ({error}): give a whole PNG, JPEG, BMP, GIF, PNM, "
            "TIFF or WebP"
        ) from error
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, np.newaxis], 3 if color else 1, axis=2)
    return pixels if color else luminance(pixels)


def luminance(picture: Array) -> Array:
    """(height, width, 3) RGB -> (height, width, 1) grey, by ITU-R BT.709's weights as scikit-image's rgb2gray."""
    grey: Array = picture @ np.array((0.2125, 0.7154, 0.0721), picture.dtype)
    return grey[:, :, np.newaxis]


def _pixels(picture: Any) -> Array:
    """A Pillow image's values as float32, (height, width) or (height, width, 3), full scale at 1."""
    mode, full_scale = picture.mode, 255
    if mode == "F":
        full_scale = 1
    elif mode == "I":  # Pillow's mode for 32-bit files, and for 16 bits in these two formats
        full_scale = 65535 if picture.format in ("PNG", "PPM") else 2**31 - 1
    elif mode.startswith("I;16"):
        full_scale = 65535
    elif mode in ("1", "L", "LA", "La"):
        picture = picture.convert("L")
    else:
        picture = (picture.convert("RGBA") if mode in ("P", "PA") else picture).convert("RGB")
    return np.asarray(picture).astype(np.float32) / np.float32(full_scale)
