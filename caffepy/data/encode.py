"""Pictures encoded to the bytes that OpenCV's imencode gives Caffe."""

import io
import struct
import zlib

import numpy as np

from caffepy.data.bilinear import Picture
from caffepy.errors import ArgumentError

_QUALITY = 95
_CHUNK = 8192
"""libpng's buffer, and so the length of an IDAT chunk."""
_BY_PILLOW = {"bmp": "BMP", "dib": "BMP", "tif": "TIFF", "tiff": "TIFF", "webp": "WEBP", "ppm": "PPM", "pgm": "PPM"}


def encode(picture: Picture, encoding: str) -> bytes:
    """The picture, (height, width[, 3]) BGR, as a file of type `encoding`, a name's ending without its dot.

    PNG and JPEG are OpenCV 4.6's with its settings by default, byte for byte where zlib and libjpeg-turbo are the usual
    ones. Raises ArgumentError for a type there is no encoder for.
    """
    kind = encoding.lower()
    if kind == "png":
        return _png(picture)
    if kind in ("jpg", "jpeg", "jpe"):
        return _by_pillow(picture, "JPEG", quality=_QUALITY)
    if kind in _BY_PILLOW:
        return _by_pillow(picture, _BY_PILLOW[kind])
    kinds = ", ".join(["jpg", "png", *_BY_PILLOW])
    raise ArgumentError(f"there is no encoder for pictures of type {encoding!r}; there are {kinds}")


def _by_pillow(picture: Picture, kind: str, **settings: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture[..., ::-1] if picture.ndim == 3 else picture)).save(
        out, kind, **settings
    )
    return out.getvalue()


def _png(picture: Picture) -> bytes:
    """PNG as OpenCV 4.6 has libpng write it: differences to the pixel on the left, zlib's run lengths at level 1."""
    height, width = picture.shape[:2]
    channels = picture[..., ::-1] if picture.ndim == 3 else picture[..., np.newaxis]
    lines = np.ones((height, 1 + channels[0].size), np.uint8)  # each begins with its filter, 1
    depth = channels.shape[2]
    flat = channels.reshape(height, -1)
    lines[:, 1 : 1 + depth] = flat[:, :depth]
    lines[:, 1 + depth :] = flat[:, depth:] - flat[:, :-depth]
    body = _deflated(lines.tobytes())
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if depth == 3 else 0, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        *((b"IDAT", body[i : i + _CHUNK]) for i in range(0, len(body), _CHUNK)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _deflated(data: bytes) -> bytes:
    """In a window no larger than the data need, which libpng sees to below 16 KiB (png_deflate_claim: pngwutil.c)."""
    bits = 15
    if len(data) <= 16384:
        while bits > 8 and len(data) + 262 <= 1 << (bits - 1):
            bits -= 1
    deflate = zlib.compressobj(1, zlib.DEFLATED, max(bits, 9), 8, zlib.Z_RLE)
    return deflate.compress(data) + deflate.flush()
