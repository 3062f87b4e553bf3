"""The net: graph, memory and execution."""

from caffepy.net.net import Net
from caffepy.net.weights import WeightReport

__all__ = ["Net", "WeightReport"]
