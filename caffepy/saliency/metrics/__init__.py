"""How good a map is: does the score hang on what it points at, does it hold still, is it about this net at all?"""

from caffepy.saliency.metrics.agreement import completeness_error, infidelity, max_sensitivity, sensitivity_n
from caffepy.saliency.metrics.erasing import Curve, deletion, insertion, pixel_flipping, road
from caffepy.saliency.metrics.sanity import rank_correlation, sanity_checks
from caffepy.saliency.metrics.shape import complexity, energy_inside, intersection_over_union, pointing_game, sparseness

__all__ = [
    "Curve",
    "completeness_error",
    "complexity",
    "deletion",
    "energy_inside",
    "infidelity",
    "insertion",
    "intersection_over_union",
    "max_sensitivity",
    "pixel_flipping",
    "pointing_game",
    "rank_correlation",
    "road",
    "sanity_checks",
    "sensitivity_n",
    "sparseness",
]
