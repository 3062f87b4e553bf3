"""Python 2 made Python 3, as far as that is mechanical: what scripts written for old Caffe need."""

from caffepy.cli.python2.converter import GONE, Converted, convert
from caffepy.cli.python2.library import GONE_FROM_NUMPY

__all__ = ["GONE", "GONE_FROM_NUMPY", "Converted", "convert"]
