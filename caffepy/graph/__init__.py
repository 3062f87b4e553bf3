"""The net as a graph, in pure functions.

Layers are named by their index in the net, tops and bottoms by their index in the layer. A blob written in place has
several versions; a version is named by who wrote it: (layer, top).
"""

from caffepy.graph.plans import BackwardPlan, GradientPlan, LayerFacts, overwritten, plan_backward, plan_gradient
from caffepy.graph.wiring import (
    AUTOMATIC,
    Version,
    Wiring,
    filter_net,
    included,
    insert_splits,
    param_owners,
    param_spec,
    wire,
)

__all__ = [
    "AUTOMATIC",
    "BackwardPlan",
    "GradientPlan",
    "LayerFacts",
    "Version",
    "Wiring",
    "filter_net",
    "included",
    "insert_splits",
    "overwritten",
    "param_owners",
    "param_spec",
    "plan_backward",
    "plan_gradient",
    "wire",
]
