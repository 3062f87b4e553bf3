"""Training data: databases, lists of pictures and HDF5 files read, transformed and written: docs/data.md."""

from caffepy.data.bad_records import skip_bad_records
from caffepy.data.bilinear import resize
from caffepy.data.database import Database, open_database
from caffepy.data.hdf5 import Hdf5Source
from caffepy.data.imageset import Conversion, Converted, convert
from caffepy.data.mean import Mean, compute_image_mean
from caffepy.data.pictures import decode, read_picture
from caffepy.data.prefetch import batches
from caffepy.data.records import datum_values
from caffepy.data.sources import DatabaseSource, ImageListSource
from caffepy.data.transform import DataTransformer, read_mean
from caffepy.data.writer import DatabaseWriter

__all__ = [
    "Conversion",
    "Converted",
    "DataTransformer",
    "Database",
    "DatabaseSource",
    "DatabaseWriter",
    "Hdf5Source",
    "ImageListSource",
    "Mean",
    "batches",
    "compute_image_mean",
    "convert",
    "datum_values",
    "decode",
    "open_database",
    "read_mean",
    "read_picture",
    "resize",
    "skip_bad_records",
]
