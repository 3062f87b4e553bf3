"""pycaffe's calling habits over the net, and the process-wide functions of its module."""

from caffepy.pycaffe.net import Net, NotComputedWarning

__all__ = ["Net", "NotComputedWarning"]
