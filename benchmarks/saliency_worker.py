"""One method of one engine on one net: `python -m benchmarks.saliency_worker ENGINE NET METHOD THREADS PASSES`.

Prints a line of JSON: seconds of the fastest map (with one thread of the processor's time, which neighbours do not
lengthen), the process's peak of memory, and that less what it took before the first map.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import resident
from benchmarks.nets import NETS
from benchmarks.runs import CLASS, build

SAMPLES = 50
"""Of SmoothGrad and its kin, and steps of integrated gradients."""

_COPIES, _STEPS = {"samples": SAMPLES}, {"steps": SAMPLES}
OPTIONS: dict[str, dict[str, Any]] = {
    "smoothgrad": _COPIES,
    "smoothgrad-squared": _COPIES,
    "vargrad": _COPIES,
    "expected-gradients": _COPIES,
    "integrated-gradients": {**_STEPS, "error": None},
    "blur-integrated-gradients": _STEPS,
    "guided-integrated-gradients": _STEPS,
    "rise": {"masks": 200},
    "extremal-perturbation": {"iterations": 50},
}

METHODS_OF = {
    "captum": (
        "gradient",
        "input-x-gradient",
        "deconvnet",
        "guided-backprop",
        "smoothgrad",
        "smoothgrad-squared",
        "vargrad",
        "integrated-gradients",
        "deeplift",
        "occlusion",
        "guided-grad-cam",
    ),
    "grad-cam": (
        "grad-cam",
        "grad-cam-plus-plus",
        "layer-cam",
        "hires-cam",
        "score-cam",
        "ablation-cam",
        "full-gradient",
    ),
}
"""What each peer has of ours."""

LAYERS = {"squeezenet": "fire9/concat", "googlenet": "inception_5b/output"}
"""That CAMs are of."""


def caffepy_method(net: str, method: str) -> Callable[[], Any]:
    """The method as a call."""
    from caffepy.saliency import METHODS

    built = build(NETS[net](1))
    image = built.blobs["data"].data.copy()
    return lambda: METHODS[method](built, image, CLASS, **OPTIONS.get(method, {}))


def captum_method(net: str, method: str) -> Callable[[], Any]:
    """The same of Captum, by its defaults."""
    import torch
    from captum import attr

    from benchmarks.torch_modules import Modules

    built = build(NETS[net](1))
    model, x = Modules(built), torch.from_numpy(built.blobs["data"].data.copy()).requires_grad_()
    freed(built)
    plain = attr.Saliency(model)
    tunnel = attr.NoiseTunnel(plain)
    kinds = {"smoothgrad": "smoothgrad", "smoothgrad-squared": "smoothgrad_sq", "vargrad": "vargrad"}
    if method in kinds:
        options = {"nt_type": kinds[method], "nt_samples": SAMPLES, "stdevs": 0.5, "target": CLASS, "abs": False}
        return lambda: tunnel.attribute(x, **options)
    side = x.shape[-1] // 8
    made: dict[str, Callable[[], Any]] = {
        "gradient": lambda: plain.attribute(x, CLASS, abs=False),
        "input-x-gradient": lambda: attr.InputXGradient(model).attribute(x, target=CLASS),
        "deconvnet": lambda: attr.Deconvolution(model).attribute(x, target=CLASS),
        "guided-backprop": lambda: attr.GuidedBackprop(model).attribute(x, target=CLASS),
        "integrated-gradients": lambda: attr.IntegratedGradients(model).attribute(x, target=CLASS, n_steps=SAMPLES),
        "deeplift": lambda: attr.DeepLift(model).attribute(x, target=CLASS),
        "guided-grad-cam": lambda: attr.GuidedGradCam(model, model.layers[LAYERS[net]]).attribute(x, CLASS),
        "occlusion": lambda: attr.Occlusion(model).attribute(
            x, (3, side, side), strides=(3, side // 4, side // 4), target=CLASS, perturbations_per_eval=16
        ),
    }
    return made[method]


def grad_cam_method(net: str, method: str) -> Callable[[], Any]:
    """The same of pytorch-grad-cam."""
    import pytorch_grad_cam as peer
    import torch
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    from benchmarks.torch_modules import Modules

    built = build(NETS[net](1))
    model, x = Modules(built), torch.from_numpy(built.blobs["data"].data.copy())
    freed(built)
    kinds = {
        "grad-cam": peer.GradCAM,
        "grad-cam-plus-plus": peer.GradCAMPlusPlus,
        "layer-cam": peer.LayerCAM,
        "hires-cam": peer.HiResCAM,
        "score-cam": peer.ScoreCAM,
        "ablation-cam": peer.AblationCAM,
        "full-gradient": peer.FullGrad,
    }
    cam = kinds[method](model=model, target_layers=[model.layers[LAYERS[net]]])
    return lambda: cam(input_tensor=x, targets=[ClassifierOutputTarget(CLASS)])


ENGINES = {"caffepy": caffepy_method, "captum": captum_method, "grad-cam": grad_cam_method}


def freed(net: Any) -> None:
    """Give the net's memory back: a peer's process has its own model alone."""
    net.close()
    gc.collect()


def peak_mb() -> float:
    """The program's greatest resident size so far; 0 where the system does not tell. Not getrusage's, which starts from
    what the process that began this one had."""
    return (resident.peak() or 0) / 1e6


def main() -> None:
    """Run it."""
    engine, net, method, threads, passes = sys.argv[1:]
    if engine != "caffepy":
        import torch

        torch.set_num_threads(int(threads))
    call = ENGINES[engine](net, method)
    before, seconds = peak_mb(), []
    clock = time.process_time if int(threads) == 1 else time.perf_counter
    for _ in range(int(passes)):
        start = clock()
        call()
        seconds.append(clock() - start)
    print(json.dumps({"seconds": min(seconds), "peak_mb": peak_mb(), "added_mb": peak_mb() - before}))


if __name__ == "__main__":
    main()
