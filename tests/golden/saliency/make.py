"""Maps of Captum, zennit and pytorch-grad-cam on the nets of tests/saliency/peers.py: `python make.py [NET...]`.

Needs torch, captum, zennit and grad-cam; made.json says which versions. SqueezeNet's maps need its trained weights.
"""

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum import attr
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from zennit import composites
from zennit.attribution import Gradient

sys.path.insert(0, str(Path(__file__).parents[3]))

from benchmarks.torch_modules import Modules
from tests.saliency import peers

CAMS = {"grad-cam": GradCAM, "grad-cam-plus-plus": GradCAMPlusPlus, "layer-cam": LayerCAM, "hires-cam": HiResCAM}


def captum(name: str, model: Modules, images: np.ndarray, targets: list[int]) -> dict[str, Callable[[], Any]]:
    """Captum's methods, by ours."""
    x, target = torch.from_numpy(images).requires_grad_(), torch.tensor(targets)
    side = peers.window(name)
    windows = {"sliding_window_shapes": (images.shape[1], side, side), "strides": (images.shape[1], 3, 3)}
    steps = peers.steps(name)
    return {
        "gradient": lambda: attr.Saliency(model).attribute(x, target, abs=False),
        "input-x-gradient": lambda: attr.InputXGradient(model).attribute(x, target=target),
        "guided-backprop": lambda: attr.GuidedBackprop(model).attribute(x, target=target),
        "deconvnet": lambda: attr.Deconvolution(model).attribute(x, target=target),
        "integrated-gradients": lambda: attr.IntegratedGradients(model).attribute(x, target=target, n_steps=steps),
        "occlusion": lambda: attr.Occlusion(model).attribute(x, target=target, **windows)[:, 0],
        "deeplift": lambda: attr.DeepLift(model).attribute(x, target=target),
    }


def zennit(model: Modules, images: np.ndarray, targets: list[int], what: str) -> Any:
    """LRP by a composite, from the score down; excitation backpropagation from 1."""
    bound = peers.bound(images)
    made = {
        "lrp epsilon-plus": composites.EpsilonPlus,
        "lrp epsilon-alpha2-beta1": composites.EpsilonAlpha2Beta1,
        "lrp epsilon-plus-flat": composites.EpsilonPlusFlat,
        "lrp epsilon-alpha2-beta1-flat": composites.EpsilonAlpha2Beta1Flat,
        "lrp epsilon-gamma-box": lambda: composites.EpsilonGammaBox(low=-bound, high=bound),
        "excitation-backprop": lambda: composites.ExcitationBackprop(zero_params=["bias"]),
    }[what]()
    x, chosen = torch.from_numpy(images).requires_grad_(), torch.tensor(targets)

    def start(output: torch.Tensor) -> torch.Tensor:
        one_hot = torch.nn.functional.one_hot(chosen, output.shape[1]).to(output)
        return one_hot if what == "excitation-backprop" else one_hot * output

    with Gradient(model, made) as attributor:
        _, relevance = attributor(x, start)
    return relevance


def cam(name: str, model: Modules, images: np.ndarray, targets: list[int], what: str) -> Any:
    """pytorch-grad-cam's map at the layer's resolution, before it is scaled and resized."""
    layer, x = model.layers[peers.layer_of(name)], torch.from_numpy(images)
    with CAMS[what](model=model, target_layers=[layer]) as made:
        wanted = [ClassifierOutputTarget(target) for target in targets]
        made(x, wanted)
        activations = made.activations_and_grads.activations[0].numpy()
        gradients = made.activations_and_grads.gradients[0].numpy()
        return np.maximum(made.get_cam_image(x, layer, wanted, activations, gradients, False), 0)


def make(name: str) -> dict[str, np.ndarray]:
    """Every map that is compared on the net."""
    net, images, targets = peers.NETS[name]()
    found = {}
    for what in peers.compared(name):
        model = Modules(net)
        if what in CAMS:
            values = cam(name, model, images, targets, what)
        elif what.startswith("lrp") or what == "excitation-backprop":
            values = zennit(model, images, targets, what)
        else:
            values = captum(name, model, images, targets)[what]()
        array = values.detach().numpy() if isinstance(values, torch.Tensor) else values
        found[what] = peers.kept(name, np.asarray(array, np.float32))
    return found


if __name__ == "__main__":
    for chosen in sys.argv[1:] or peers.NETS:
        maps = make(chosen)
        np.savez_compressed(peers.GOLDEN / f"{chosen}.npz", **maps)
        print(chosen, {name: values.shape for name, values in maps.items()})
    packages = ("torch", "captum", "zennit", "grad-cam")
    versions = {package: version(package) for package in packages}
    (peers.GOLDEN / "made.json").write_text(json.dumps(versions, indent=2) + "\n")
