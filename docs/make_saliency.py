"""The tables and the picture of docs/saliency.md: `python docs/make_saliency.py [embedded] [squeezenet] [googlenet]`.

Measures on these nets and writes the rows into the guide; for `embedded`, docs/saliency-methods.png as well. The other
two need trained weights and photographs, in the folder that CAFFEPY_SHARED names. Takes minutes, GoogLeNet an hour.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import caffepy as caffe
from caffepy import io, zoo
from caffepy.saliency import METHODS, Method, Saliency, metrics, pictures, preprocess
from caffepy.saliency.metrics.sanity import rank_correlation

GUIDE = Path(__file__).with_name("saliency.md")
CAMS = (
    "grad-cam",
    "grad-cam-plus-plus",
    "layer-cam",
    "hires-cam",
    "linear-approximation",
    "guided-grad-cam",
    "score-cam",
    "ablation-cam",
)
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
    "integrated-gradients": "50 F + B and more",
    "blur-integrated-gradients": "50 F + B",
    "guided-integrated-gradients": "50 F + B, one by one",
    "expected-gradients": "50 F + B",
    "guided-grad-cam": "F + 2 B",
    "score-cam": "F a channel",
    "ablation-cam": "F a channel",
    "occlusion": "F a window",
    "rise": "400 F",
    "extremal-perturbation": "100 F + B, one by one",
}


@dataclass
class Case:
    """A net, the pictures that it is measured on, and what its methods are told."""

    name: str
    net: Any
    images: list[Any]
    options: dict[str, dict[str, Any]]
    steps: int
    """Of deletion and insertion."""
    checked: int
    """Images that sanity is checked on."""


def embedded() -> Case:
    """The embedded net and its ten samples."""
    model = zoo.fashion_mnist()
    images = [io.load_image(sample.picture, color=False).transpose(2, 0, 1)[np.newaxis] for sample in model.samples]
    options: dict[str, dict[str, Any]] = {
        "rise": {"masks": 400, "cells": 5},
        "extremal-perturbation": {"grid": 14, "iterations": 100},
        "occlusion": {"window": 5, "stride": 2},
    }
    return Case("embedded", model.net(), images, options | {name: {"layer": "conv3"} for name in CAMS}, 28, 2)


def trained(name: str, folder: str, weights: str) -> Case:
    """A published net and two photographs."""
    shared = Path(os.environ["CAFFEPY_SHARED"])
    where = shared / "models" / folder
    net = caffe.Net(str(where / "deploy.prototxt"), str(where / weights), caffe.TEST)
    shape = net.blobs["data"].shape
    net.blobs["data"].reshape(1, *shape[1:])
    files = [shared / "images" / file for file in ("cat.jpg", "fish-bike.jpg")]
    images = [preprocess.images_of(file, shape, None) for file in files]
    options = {"rise": {"masks": 400}, "extremal-perturbation": {"iterations": 100}, "occlusion": {"stride": 14}}
    return Case(name, net, images, options, 20, 1)


CASES: dict[str, Callable[[], Case]] = {
    "embedded": embedded,
    "squeezenet": lambda: trained("squeezenet", "squeezenet-v1.1", "squeezenet_v1.1.caffemodel"),
    "googlenet": lambda: trained("googlenet", "bvlc-googlenet", "bvlc_googlenet.caffemodel"),
}


def main() -> None:
    """What the command line names."""
    for name in sys.argv[1:] or ["embedded"]:
        case = CASES[name]()
        rows, maps = [], {}
        for method in METHODS.values():
            maps[method.name] = [method(case.net, image, **case.options.get(method.name, {})) for image in case.images]
            cells = [f"`{method.name}`", *figures(case, maps[method.name], method)]
            if name == "embedded":
                cells[1:1] = [PAPERS[method.name], PASSES.get(method.name, "F + B")]
            rows.append(f"| {' | '.join(cells)} |")
            print(rows[-1], flush=True)
        for baseline, make in (("random", _random), ("edges", _edges)):
            areas = means([curves(case, n, make(image)) for n, image in enumerate(case.images)])
            cells = [baseline, *(["baseline", "none"] if name == "embedded" else []), "-", "-", *areas]
            rows.append(f"| {' | '.join(cells)} |")
        write(name, rows)
        if name == "embedded":
            draw(maps, 8)


def write(name: str, rows: list[str]) -> None:
    """Put the rows under the heading of the table that follows the mark `<!-- name -->`."""
    text = GUIDE.read_text("utf-8")
    mark = f"<!-- {name} -->\n"
    before, table = text.split(mark)
    head, rest = table.split("\n\n", 1)
    kept = head.splitlines()[:2]
    GUIDE.write_text(before + mark + "\n".join([*kept, *rows]) + "\n\n" + rest, "utf-8")


def draw(maps: dict[str, list[Saliency]], index: int) -> None:
    """Every method's map of one image, and the image."""
    first = next(iter(maps.values()))[index]
    panels = [pictures.Panel(pictures.enlarged(first.picture(), 140), "the picture: a bag")]
    panels += [pictures.Panel(of[index].panel(longest=140).picture, name) for name, of in maps.items()]
    rows = [panels[at : at + 7] for at in range(0, len(panels), 7)]
    pictures.save(pictures.grid(rows), GUIDE.with_name("saliency-methods.png"))


def figures(case: Case, maps: list[Saliency], method: Method) -> list[str]:
    """Completeness error, sanity, deletion and insertion, as the table has them."""
    complete = "-"
    if method.name in COMPLETE:
        pairs = [(x, m, m.classes[0]) for x, m in zip(case.images, maps, strict=True) if m.classes]
        errors = [metrics.completeness_error(case.net, x, m, c) for x, m, c in pairs]
        complete = f"{np.median(errors):.1e}"
    checked = case.images[: case.checked], maps[: case.checked]
    sanity = np.mean([shuffled(case, image, true, method) for image, true in zip(*checked, strict=True)])
    return [complete, f"{sanity:.2f}", *means([curves(case, n, m.upsampled()[0]) for n, m in enumerate(maps)])]


def shuffled(case: Case, image: Any, true: Saliency, method: Method) -> float:
    """The rank correlation of the map with that of the net whose weights are all shuffled."""
    rng, blobs = np.random.default_rng(0), [blob for layer in case.net.layers for blob in layer.blobs]
    kept = [blob.data.copy() for blob in blobs]
    target = true.classes[0] if true.classes else "top"
    try:
        for blob in blobs:
            blob.data[...] = rng.permutation(blob.data.ravel()).reshape(blob.shape)
        random = method(case.net, image, target, **case.options.get(method.name, {}))
    finally:
        for blob, data in zip(blobs, kept, strict=True):
            blob.data[...] = data
    return rank_correlation(np.abs(random.maps()[0]), np.abs(true.maps()[0]))


def curves(case: Case, index: int, values: Any) -> tuple[float, float]:
    """The areas of deletion and insertion."""
    given = case.net, case.images[index], values
    return metrics.deletion(*given, steps=case.steps).area, metrics.insertion(*given, steps=case.steps).area


def means(areas: list[tuple[float, float]]) -> list[str]:
    """Over the images, in words."""
    return [f"{np.mean(column):.3f}" for column in zip(*areas, strict=True)]


def _random(image: Any) -> Any:
    return np.random.default_rng(0).random(image.shape[2:])


def _edges(image: Any) -> Any:
    return np.hypot(*np.gradient(image[0].mean(axis=0)))


if __name__ == "__main__":
    main()
