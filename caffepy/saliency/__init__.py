"""Which pixels a net's score depends on: methods, what they explain, and pictures of it.

    caffepy.saliency.gradient(net, "cat.jpg", target=281).save("map.png")

`method` says what all methods have in common, `target` *what* is explained, `subject` *on what passes*, `rules` *how*
layers run backward, `methods` what is made of that, `result` and `pictures` how it is looked at.
"""

from caffepy.saliency.maps import channel_maximum, saliency_map, score_gradient
from caffepy.saliency.method import METHODS, Method, named
from caffepy.saliency.methods.gradients import deconvnet, gradient, guided_backprop, input_x_gradient
from caffepy.saliency.preprocess import Preprocess
from caffepy.saliency.result import Saliency
from caffepy.saliency.score import Score, class_score, class_values
from caffepy.saliency.target import Position, Region, Top, Unit

__all__ = [
    "METHODS",
    "Method",
    "Position",
    "Preprocess",
    "Region",
    "Saliency",
    "Score",
    "Top",
    "Unit",
    "channel_maximum",
    "class_score",
    "class_values",
    "deconvnet",
    "gradient",
    "guided_backprop",
    "input_x_gradient",
    "named",
    "saliency_map",
    "score_gradient",
]
