"""The table and the picture of docs/saliency.md, on the embedded net: `python docs/make_saliency.py`.

Writes docs/saliency-methods.png and prints the table's rows; takes minutes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from caffepy import io, zoo
from caffepy.saliency import METHODS, Method, Saliency, metrics, pictures

OPTIONS: dict[str, dict[str, Any]] = {
    "rise": {"masks": 500, "cells": 5},
    "extremal-perturbation": {"grid": 14, "iterations": 100},
    "occlusion": {"window": 5, "stride": 2},
}
CAMS = ("grad-cam", "grad-cam-plus-plus", "layer-cam", "hires-cam", "linear-approximation", "guided-grad-cam")
OPTIONS |= {name: {"layer": "conv3"} for name in (*CAMS, "score-cam", "ablation-cam")}
PAPERS = {
    "gradient": "Simonyan et al. 2013, 1312.6034",
    "input-x-gradient": "Shrikumar et al. 2016, 1605.01713",
    "deconvnet": "Zeiler & Fergus 2014, 1311.2901",
    "guided-backprop": "Springenberg et al. 2015, 1412.6806",
    "grad-cam": "Selvaraju et al. 2017, 1610.02391",
    "grad-cam-plus-plus": "Chattopadhay et al. 2018, 1710.11063",
    "layer-cam": "Jiang et al. 2021",
    "hires-cam": "Draelos & Carin 2020, 2011.08891",
    "linear-approximation": "Fong et al. 2019, 1910.08485",
    "guided-grad-cam": "Selvaraju et al. 2017, 1610.02391",
    "score-cam": "Wang et al. 2020, 1910.01279",
    "ablation-cam": "Desai & Ramaswamy 2020",
    "extremal-perturbation": "Fong et al. 2019, 1910.08485",
    "full-gradient": "Srinivas & Fleuret 2019, 1905.00780",
    "smoothgrad": "Smilkov et al. 2017, 1706.03825",
    "smoothgrad-squared": "Hooker et al. 2019, 1806.10758",
    "vargrad": "Adebayo et al. 2018, 1810.03307",
    "integrated-gradients": "Sundararajan et al. 2017, 1703.01365",
    "expected-gradients": "Erion et al. 2021, 1906.10670",
    "blur-integrated-gradients": "Xu et al. 2020",
    "guided-integrated-gradients": "Kapishnikov et al. 2021",
    "occlusion": "Zeiler & Fergus 2014, 1311.2901",
    "rise": "Petsiuk et al. 2018, 1806.07421",
    "lrp": "Bach et al. 2015; Montavon et al. 2019",
    "excitation-backprop": "Zhang et al. 2016, 1608.00507",
    "contrastive-excitation-backprop": "Zhang et al. 2016, 1608.00507",
    "deeplift": "Shrikumar et al. 2017, 1704.02685",
}
COMPLETE = {"integrated-gradients", "guided-integrated-gradients", "deeplift", "lrp"}
PASSES = {
    "smoothgrad": "50 F + B",
    "smoothgrad-squared": "50 F + B",
    "vargrad": "50 F + B",
    "integrated-gradients": "50 F + B",
    "blur-integrated-gradients": "50 F + B",
    "guided-integrated-gradients": "50 F + B, one by one",
    "expected-gradients": "50 F + B",
    "guided-grad-cam": "F + 2 B",
    "score-cam": "F a channel",
    "ablation-cam": "F a channel",
    "occlusion": "F a window",
    "rise": "500 F",
    "extremal-perturbation": "100 F + B, one by one",
}


def main() -> None:
    """Both."""
    model = zoo.fashion_mnist()
    net = model.net()
    images = [io.load_image(sample.picture, color=False).transpose(2, 0, 1)[np.newaxis] for sample in model.samples]
    rows: list[list[pictures.Panel]] = [[]]
    print("| method | paper | passes | completeness error | sanity | deletion | insertion |")
    print("|---|---|---|---|---|---|---|")
    for name, method in METHODS.items():
        maps = [method(net, image, **OPTIONS.get(name, {})) for image in images]
        cells = [f"`{name}`", PAPERS[name], PASSES.get(name, "F + B"), *figures(net, images, maps, method)]
        print(f"| {' | '.join(cells)} |", flush=True)
        if len(rows[-1]) == 8:
            rows.append([])
        rows[-1].append(pictures.Panel(maps[8].panel(longest=140).picture, name))
    for name, make in (("random", _random), ("edges", _edges)):
        found = [curves(net, image, make(image)) for image in images]
        areas = (f"{np.mean(column):.3f}" for column in zip(*found, strict=True))
        print(f"| {name} | baseline | none | - | - | {' | '.join(areas)} |")
    shown = pictures.Panel(maps[8].picture(), "the picture: a bag")
    rows[0].insert(0, pictures.Panel(pictures.enlarged(shown.picture, 140), shown.caption))
    pictures.save(pictures.grid(rows), Path(__file__).parent / "saliency-methods.png")


def figures(net: Any, images: list[Any], maps: list[Saliency], method: Method) -> list[str]:
    """Completeness error, sanity, deletion and insertion, as the table has them."""
    complete = "-"
    if method.name in COMPLETE:
        pairs = [(x, m, m.classes[0]) for x, m in zip(images, maps, strict=True) if m.classes]
        errors = [metrics.completeness_error(net, x, m, c) for x, m, c in pairs]
        complete = f"{np.median(errors):.1e}"
    checks = [
        list(metrics.sanity_checks(net, image, method, parameters=OPTIONS.get(method.name, {})).values())[-1]
        for image in images[:2]
    ]
    areas = [curves(net, x, m.upsampled()[0]) for x, m in zip(images, maps, strict=True)]
    return [complete, f"{np.mean(checks):.2f}", *(f"{np.mean(column):.3f}" for column in zip(*areas, strict=True))]


def curves(net: Any, image: Any, values: Any) -> tuple[float, float]:
    """The areas of deletion and insertion."""
    deleted, inserted = (of(net, image, values, steps=28).area for of in (metrics.deletion, metrics.insertion))
    return deleted, inserted


def _random(image: Any) -> Any:
    return np.random.default_rng(0).random(image.shape[2:])


def _edges(image: Any) -> Any:
    return np.hypot(*np.gradient(image[0, 0]))


if __name__ == "__main__":
    main()
