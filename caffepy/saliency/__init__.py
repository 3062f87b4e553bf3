"""Which pixels a net's score depends on.

Three questions, three modules: `score` says *what* is differentiated, `gradient` *how*: the passes that are run and
what they are folded into, `pictures` turns a map into something to look at.
"""

from caffepy.saliency.gradient import channel_maximum, saliency_map, score_gradient
from caffepy.saliency.score import Score, class_score, class_values

__all__ = ["Score", "channel_maximum", "class_score", "class_values", "saliency_map", "score_gradient"]
