"""Which pixels a net's score depends on: methods, what they explain, and pictures of it.

    caffepy.saliency.gradient(net, "cat.jpg", target=281).save("map.png")

`method` says what all methods have in common, `target` *what* is explained, `subject` *on what passes*, `rules` *how*
layers run backward, `methods` what is made of that, `result` and `pictures` how it is looked at.
"""

from caffepy.saliency import metrics
from caffepy.saliency.detection import Box
from caffepy.saliency.labels import read_labels
from caffepy.saliency.localization import Localization, localize
from caffepy.saliency.maps import channel_maximum, saliency_map, score_gradient
from caffepy.saliency.method import METHODS, Method, named
from caffepy.saliency.methods.cam import (
    grad_cam,
    grad_cam_plus_plus,
    guided_grad_cam,
    hires_cam,
    layer_cam,
    linear_approximation,
)
from caffepy.saliency.methods.channels import ablation_cam, score_cam
from caffepy.saliency.methods.extremal import extremal_perturbation
from caffepy.saliency.methods.full import full_gradient
from caffepy.saliency.methods.gradients import deconvnet, gradient, guided_backprop, input_x_gradient
from caffepy.saliency.methods.noise import smoothgrad, smoothgrad_squared, vargrad
from caffepy.saliency.methods.paths import (
    blur_integrated_gradients,
    expected_gradients,
    guided_integrated_gradients,
    integrated_gradients,
)
from caffepy.saliency.methods.perturbation import occlusion, rise
from caffepy.saliency.methods.relevance import (
    contrastive_excitation_backprop,
    deeplift,
    excitation_backprop,
    lrp,
)
from caffepy.saliency.preprocess import Preprocess
from caffepy.saliency.result import Saliency
from caffepy.saliency.score import Score, class_score, class_values
from caffepy.saliency.synthesis.ascent import Ascent, Synthesis
from caffepy.saliency.synthesis.objectives import deep_dream, transfer_style, visualize_class
from caffepy.saliency.target import Position, Region, Top, Unit

__all__ = [
    "METHODS",
    "Ascent",
    "Box",
    "Localization",
    "Method",
    "Position",
    "Preprocess",
    "Region",
    "Saliency",
    "Score",
    "Synthesis",
    "Top",
    "Unit",
    "ablation_cam",
    "blur_integrated_gradients",
    "channel_maximum",
    "class_score",
    "class_values",
    "contrastive_excitation_backprop",
    "deconvnet",
    "deep_dream",
    "deeplift",
    "excitation_backprop",
    "expected_gradients",
    "extremal_perturbation",
    "full_gradient",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient",
    "guided_backprop",
    "guided_grad_cam",
    "guided_integrated_gradients",
    "hires_cam",
    "input_x_gradient",
    "integrated_gradients",
    "layer_cam",
    "linear_approximation",
    "localize",
    "lrp",
    "metrics",
    "named",
    "occlusion",
    "read_labels",
    "rise",
    "saliency_map",
    "score_cam",
    "score_gradient",
    "smoothgrad",
    "smoothgrad_squared",
    "transfer_style",
    "vargrad",
    "visualize_class",
]
