"""Class activation maps whose weights are found by trial: Score-CAM and Ablation-CAM."""

from typing import Any

import numpy as np

from caffepy.blob import Floats
from caffepy.saliency.method import method
from caffepy.saliency.methods.cam import spatial_layer
from caffepy.saliency.operations import ablate_forward, blend_forward, channel_sum_forward, ranges_of, unit_range
from caffepy.saliency.resample import resized
from caffepy.saliency.subject import Subject, repeated, uploaded, zeros


@method("score-cam", "largest")
def score_cam(subject: Subject) -> list[Any]:
    """max(sum over c of w_c A_c, 0), w the softmax of the scores of the image masked by each channel, scaled to 0 to 1.

    Wang et al. 2020, arXiv 1910.01279.
    """
    name = spatial_layer(subject)
    data = subject.data(name)
    num, channels = data.shape[:2]
    weights = np.zeros((len(subject.goals), num, channels), np.float32)
    inner, black = subject.shape[2] * subject.shape[3], zeros(subject.shape[1:])
    for n in range(num):
        scaled = _unit_range(data[n : n + 1].reshape(data.shape[1:]))
        for part in subject.chunks(channels):
            masks = resized(scaled[part.start : part.stop], *subject.shape[2:])
            tried = zeros((len(part), *subject.shape[1:]))
            blend_forward(subject.images[n : n + 1], black, masks, subject.shape[1], inner, tried)
            weights[:, n, part.start : part.stop] = subject.on(tried, [n] * len(part)).scores()
    weights = np.exp(weights - weights.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    return _maps(data, weights)


@method("ablation-cam", "largest")
def ablation_cam(subject: Subject) -> list[Any]:
    """max(sum over c of w_c A_c, 0), w_c the part of the score that is lost without channel c.

    Desai & Ramaswamy 2020, WACV.
    """
    name, net = spatial_layer(subject), subject.net
    data, before = subject.data(name), subject.scores()
    num, channels, height, width = data.shape
    blob, after = net.blob(name[0]), net.layer_index(name[1]) + 1
    weights = np.zeros((len(subject.goals), num, channels), np.float32)
    for n in range(num):
        for part in subject.chunks(channels):
            tried = subject.on(repeated(subject.images[n : n + 1], len(part)), [n] * len(part))
            tried.forward(anew=True)
            written = blob.data_storage.array(blob.count, "overwrite")
            ablate_forward(data[n : n + 1], channels, height * width, part.start, written)
            net.forward_from_to(after, len(net.execution.layers) - 1)
            scores = np.stack([goal.values(net) for goal in tried.goals])
            whole = before[:, n, None]
            weights[:, n, part.start : part.stop] = (whole - scores) / np.where(whole == 0, 1, whole)
    subject.forward(anew=True)
    return _maps(data, weights)


def _unit_range(values: Any) -> Any:
    """(channels, height, width), each channel from 0 to 1."""
    channels, inner = values.shape[0], values.shape[1] * values.shape[2]
    scaled, lows, highs = zeros(values.shape), zeros((channels,)), zeros((channels,))
    ranges_of(values, inner, 0, lows, highs)
    unit_range(values, inner, lows, highs, scaled)
    return scaled


def _maps(data: Any, weights: Floats) -> list[Any]:
    num, channels, height, width = data.shape
    maps = []
    for of_goal in weights:
        maps.append(zeros((num, height, width)))
        channel_sum_forward(data, uploaded(of_goal), channels, height * width, 1, maps[-1])
    return maps
