"""What gradient ascent climbs, and what is made with it: a class's image, deep dreams, a picture in another's style."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from caffepy import device
from caffepy.blob import Floats, Shape
from caffepy.errors import ArgumentError
from caffepy.net import Net
from caffepy.net.gradient import VersionName
from caffepy.rules.operations import relevance_product
from caffepy.saliency.operations import mix_forward, weighted_powers
from caffepy.saliency.preprocess import Preprocess, images_of, preprocess_of
from caffepy.saliency.score import only
from caffepy.saliency.subject import uploaded, zeros
from caffepy.saliency.synthesis.ascent import Ascent, Progress, Synthesis, climb, octaves, resized
from caffepy.saliency.synthesis.operations import gram_forward
from caffepy.saliency.target import Diffs, Goal, Target, goals

CLASS = Ascent(steps=200, rate=0.02, decay=0.001, jitter=8, blur=0.5, blur_every=4, octaves=3)
DREAM = Ascent(steps=10, rate=1.5 / 255, jitter=32, octaves=4)
STYLE = Ascent(steps=200, rate=2.0 / 255)


def visualize_class(
    net: Net,
    target: Target = 0,
    *,
    output: str | None = None,
    preprocess: Any = None,
    ascent: Ascent = CLASS,
    start: Any = None,
    progress: Progress | None = None,
) -> Synthesis:
    """An image for which the class's score is high: argmax S_c(I) - lambda ||I||^2, from the mean image.

    Simonyan, Vedaldi & Zisserman 2013, section 2; jitter, blur, total variation and octaves are later regularisers
    (Mordvintsev et al. 2015; Yosinski et al. 2015). The paper's own: Ascent(octaves=1, jitter=0, blur=0).
    """
    ascent.check()
    name, shape, chosen = _input(net, preprocess)
    rng = np.random.default_rng(ascent.seed)
    if start is None:
        image = rng.normal(0, 0.02 * _scale(chosen), (1, *shape[1:])).astype(np.float32)
    else:
        image = images_of(start, shape, chosen)
    with _at(net, name, image):
        goal = goals(target, net, 1, output=output, before_softmax=True, labels=net.labels)[0]

    def objective(net: Net) -> Diffs:
        return _again(goal, net)

    for size in octaves(image, ascent if _takes_any_size(net, name, image) else replace(ascent, octaves=1)):
        image = climb(net, resized(image, size), objective, ascent, **_limits(chosen, shape), progress=progress)
    with _at(net, name, image):
        return Synthesis(image, f"class {goal.names[0]}", float(_again_score(goal, net)), chosen)


def deep_dream(
    net: Net,
    image: Any,
    layer: VersionName,
    *,
    guide: Any = None,
    preprocess: Any = None,
    ascent: Ascent = DREAM,
    progress: Progress | None = None,
) -> Synthesis:
    """The image changed so that what the layer sees in it is seen more strongly (Mordvintsev, Olah & Tyka 2015).

    guide   another image: what the layer sees there is brought out, and not what it sees here
    """
    name, shape, chosen = _input(net, preprocess)
    first = images_of(image, shape, chosen)[:1]
    blob = layer if isinstance(layer, str) else layer[0]
    if guide is not None:
        with _at(net, name, images_of(guide, shape, chosen)[:1]):
            wanted = net.blob(blob).read()[0].reshape(net.blob(blob).shape[1], -1).copy()

    def objective(net: Net) -> Diffs:
        if guide is None:
            return {layer: _values(net, blob)}
        data = net.blob(blob).read()
        seen = data[0].reshape(len(wanted), -1)
        best = (seen.T @ wanted).argmax(axis=1)
        return {layer: wanted[:, best].reshape(data.shape)}

    detail = np.zeros_like(first)
    for size in octaves(first, ascent):
        base = resized(first, size)
        now = climb(net, base + resized(detail, size), objective, ascent, **_limits(chosen, shape), progress=progress)
        detail = now - base
    with _at(net, name, now):
        energy = float(np.square(net.blob(blob).read()).sum() / 2)
    return Synthesis(now, f"{blob} of a picture", energy, chosen)


def transfer_style(
    net: Net,
    content: Any,
    style: Any,
    *,
    content_layers: Mapping[str, float],
    style_layers: Mapping[str, float],
    preprocess: Any = None,
    ascent: Ascent = STYLE,
    progress: Progress | None = None,
) -> Synthesis:
    """The content's picture in the style's manner (Gatys, Ecker & Bethge 2015, arXiv 1508.06576).

    content_layers, style_layers   blobs and their weights: of content values are compared, of style Gram matrices
    """
    name, shape, chosen = _input(net, preprocess)
    first = images_of(content, shape, chosen)[:1]
    if not style_layers:
        raise ArgumentError("give style_layers, such as {'conv1': 1, 'conv2': 1}")
    with _at(net, name, images_of(style, shape, chosen)[:1]):
        grams = {blob: gram(net.blob(blob).read()) for blob in style_layers}
    with _at(net, name, first):
        seen = {blob: net.blob(blob).read().copy() for blob in content_layers}

    def objective(net: Net) -> Diffs:
        diffs: dict[VersionName, Any] = {}
        for blob, weight in style_layers.items():
            diffs[blob] = gram_diff(_values(net, blob), uploaded(grams[blob]), -weight)
        for blob, weight in content_layers.items():
            diff = diffs.setdefault(blob, zeros(seen[blob].shape))
            share = weight / seen[blob].size
            weighted_powers(_values(net, blob), uploaded([-share]), 1, 1, diff)
            weighted_powers(uploaded(seen[blob]), uploaded([share]), 1, 1, diff)
        return diffs

    ascent.check()
    image = climb(net, first, objective, ascent, **_limits(chosen, shape), progress=progress)
    with _at(net, name, image):
        loss = sum(
            weight * float(np.square(gram(net.blob(blob).read()) - grams[blob]).sum())
            for blob, weight in style_layers.items()
        )
    return Synthesis(image, "a picture in another's style", -loss, chosen)


def gram(data: Floats) -> Floats:
    """(1, channels, height, width) -> (channels, channels): products of channels, the mean over positions."""
    rows = data[0].reshape(data.shape[1], -1)
    found: Floats = rows @ rows.T / rows.shape[1]
    return found


def gram_diff(data: Any, wanted: Any, weight: float) -> Any:
    """weight * d/d(data) of ||gram - wanted||^2 / (4 channels^2), of data's shape, all on the device."""
    channels, inner = data.shape[1], math.prod(data.shape[2:])
    off, diff = zeros((channels, channels)), zeros(data.shape)
    gram_forward(data, channels, inner, off)
    weighted_powers(wanted, uploaded([-1]), 1, 1, off)
    mix_forward(data, off, channels, channels, inner, diff)
    relevance_product(None, diff, weight / (inner * channels**2), 0, diff)
    return diff


def _values(net: Net, blob: str) -> Any:
    """A copy of the blob's values, on the device."""
    found = net.blob(blob)
    copy = zeros(found.shape)
    device.current().copy(found.data_storage.array(found.count).reshape(found.shape), copy)
    return copy


# ---- what they have in common


class _at:
    """The net's blobs for this image."""

    def __init__(self, net: Net, name: str, image: Floats) -> None:
        self.net, self.name, self.image = net, name, image

    def __enter__(self) -> None:
        blob = self.net.blob(self.name)
        if blob.shape != self.image.shape:
            blob.reshape(self.image.shape)
        blob.data[...] = self.image
        self.net.forward_from_to(0, len(self.net.execution.layers) - 1)

    def __exit__(self, *of_error: object) -> None:
        return None


def _again(goal: Goal, net: Net) -> Diffs:
    """The goal's diffs for blobs of whatever size the image now has."""
    if goal.classes is None or goal.function is not None:
        return goal.now(net)
    ((name, _),) = goal.diffs.items()
    diff = np.zeros(net.blob(name if isinstance(name, str) else name[0]).shape, np.float32)
    diff[:, goal.classes[0]] = 1
    return {name: diff}


def _again_score(goal: Goal, net: Net) -> float:
    scores = [
        np.sum(diff * net.blob(name if isinstance(name, str) else name[0]).read())
        for name, diff in _again(goal, net).items()
    ]
    return float(sum(scores))


def _input(net: Net, preprocess: Any) -> tuple[str, Shape, Any]:
    name = only(net.inputs, "input")
    shape = net.blob(name).shape
    if len(shape) != 4:
        raise ArgumentError(f"input {name!r} has shape {shape}; expected (N, channels, height, width)")
    return name, shape, preprocess or net.preprocess or preprocess_of(tuple(shape))


def _takes_any_size(net: Net, name: str, image: Floats) -> bool:
    """Whether the net's layers accept a smaller image: inner products do not."""
    from caffepy.layers.common.inner_product import InnerProduct

    return not any(isinstance(layer, InnerProduct) for layer in net.execution.layers)


def _scale(preprocess: Any) -> float:
    return preprocess.scale if isinstance(preprocess, Preprocess) else 255.0


def _limits(preprocess: Any, shape: Shape) -> dict[str, Any]:
    """The scale of the input's values, and black and white in them."""
    scale = _scale(preprocess)
    mean = preprocess.mean if isinstance(preprocess, Preprocess) else None
    low = np.zeros((1, shape[1], 1, 1), np.float32)
    if mean is not None:
        low = low - np.asarray(mean, np.float32).reshape(shape[1], -1).mean(axis=1).reshape(1, -1, 1, 1)
    return {"scale": scale, "bounds": (low, low + np.float32(scale))}
