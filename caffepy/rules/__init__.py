"""What runs backward in place of derivatives, for `with net.rules(...)`: one module for each family of rules.

with net.rules(GUIDED):
    net.forward()
    maps = net.gradient({"fc8": one_hot}, wrt="data")
"""

from caffepy.rules.composites import CONTRASTIVE, EXCITATION, Composite, composite
from caffepy.rules.rectifiers import DECONV, GUIDED
from caffepy.rules.rescale import RESCALE

__all__ = ["CONTRASTIVE", "DECONV", "EXCITATION", "GUIDED", "RESCALE", "Composite", "composite"]
