"""pycaffe's caffe.io: pictures in and out, Transformer, and arrays as BlobProto and Datum messages."""

import importlib
from typing import Any

import numpy as np

from caffepy.io.messages import (
    array_to_blobproto,
    array_to_datum,
    arraylist_to_blobprotovector_str,
    blobproto_to_array,
    blobprotovector_str_to_arraylist,
    datum_to_array,
)
from caffepy.io.pictures import load_image, luminance
from caffepy.io.resizing import oversample, resize_image
from caffepy.io.transformer import Transformer
from caffepy.proto import caffe_pb2

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "caffe_pb2",
    "datum_to_array",
    "load_image",
    "luminance",
    "np",
    "oversample",
    "resize_image",
]


def __getattr__(name: str) -> Any:
    """`caffe.io.skimage`, by which scripts reach scikit-image, where that is installed."""
    if name != "skimage":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        importlib.import_module("skimage.io")
    except ImportError as error:
        raise AttributeError(
            f"module {__name__!r} has no attribute 'skimage', because scikit-image is not installed: "
            "pip install scikit-image, or use load_image and resize_image, which do without"
        ) from error
    return importlib.import_module("skimage")
