"""How relevance goes backward through each type of layer, for `with net.rules(...)`: one module for each family.

with net.rules(GUIDED):
    net.forward()
    maps = net.gradient({"fc8": one_hot}, wrt="data")
"""

from caffepy.rules.rectifiers import DECONV, GUIDED

__all__ = ["DECONV", "GUIDED"]
