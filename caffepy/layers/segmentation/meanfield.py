"""MultiStageMeanfield: a dense conditional random field, by iterations of its mean field."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from caffepy.blob import Arrays, Floats, Shape
from caffepy.layer import Layer, register
from caffepy.layers.segmentation.permutohedral import Lattice
from caffepy.limits import STEP
from caffepy.proto.caffe_pb2 import FillerParameter, MultiStageMeanfieldParameter


class Filter(NamedTuple):
    """A Gaussian filter of (channels, pixels), and what makes a filtered constant the same constant."""

    lattice: Lattice
    normalizer: Floats

    @classmethod
    def of(cls, features: Floats) -> "Filter":
        """The filter over these features (pixels, dimensions)."""
        lattice = Lattice(features)
        ones = np.ones((1, len(features)), np.float32)
        return cls(lattice, 1 / (lattice.filter(ones)[0] + np.float32(1e-20)))

    def apply(self, values: Floats) -> Floats:
        """Weighted means over all pixels."""
        return self.lattice.filter(values) * self.normalizer

    def transposed(self, diffs: Floats) -> Floats:
        """The diffs of the values, from those of the means."""
        return self.lattice.filter(diffs * self.normalizer, reverse=True)


class Messages(NamedTuple):
    """What an iteration makes of its scores, (channels, pixels) each."""

    prob: Floats
    spatial: Floats
    bilateral: Floats
    passed: Floats


@register("MultiStageMeanfield", bottoms=3, tops=1)
class MultiStageMeanfield(Layer):
    """unaries (n, c, h, w), the same for a start, images (n, 3, h, w) -> scores (n, c, h, w), not normalized.

    num_iterations times: scores = unaries - C (S spatial(p) + B bilateral(p)), p the softmax of the scores before,
    first those of bottom 1. `spatial` is the mean weighted by exp(-|places' distance / theta_gamma|^2 / 2), `bilateral`
    by exp(-|places' distance / theta_alpha|^2 / 2 - |colours' distance / theta_beta|^2 / 2), both on the permutohedral
    lattice. Weights, each (1, 1, c, c): S and B, spatial_filter_weight and bilateral_filter_weight along the diagonal,
    and C, -1 along it. Images have no derivative; `threshold` changes nothing, there as here (Zheng et al. 2015: CRF as
    RNN).
    """

    host = True
    reads = ("bottom",)

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        p = self.param.multi_stage_meanfield_param
        if p.num_iterations < 1:
            raise self.error(f"num_iterations: {p.num_iterations} must be 1 at least")
        if min(p.theta_alpha, p.theta_beta, p.theta_gamma) <= 0:
            raise self.error(
                f"theta_alpha: {p.theta_alpha:g}, theta_beta: {p.theta_beta:g} and theta_gamma: {p.theta_gamma:g} must "
                "be above 0"
            )
        if p.compatibility_mode != MultiStageMeanfieldParameter.POTTS:
            mode = MultiStageMeanfieldParameter.Mode.Name(p.compatibility_mode)
            raise self.error(f"compatibility_mode: {mode} is not there; give POTTS, trained weights replace it anyway")
        channels = self.expect_axes(bottom_shapes, 0, 4)[1]
        self.diagonals = p.spatial_filter_weight, p.bilateral_filter_weight, -1.0
        for _ in self.diagonals:
            self.add_weights((1, 1, channels, channels), FillerParameter())

    def fill(self, index: int) -> None:
        """A diagonal matrix."""
        blob = self.blobs[index]
        blob.data[...] = self.diagonals[index] * np.eye(blob.shape[2])

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        n, c, h, w = unary = self.expect_axes(bottom_shapes, 0, 4)
        for i, wanted in enumerate(((n, self.blobs[0].shape[2], h, w), unary, (n, 3, h, w))):
            if bottom_shapes[i] != wanted:
                raise self.error(
                    f"bottom {self.param.bottom[i]!r} has shape {bottom_shapes[i]}; with unaries of {unary} it must be "
                    f"{wanted}"
                )
        iterations = self.param.multi_stage_meanfield_param.num_iterations
        self.reserve_work(n * iterations * (20 * c * h * w + 20 * STEP), 4 * n * iterations * c * h * w)
        rows, columns = np.divmod(np.arange(h * w), w)
        self.places: Floats = np.stack([columns, rows], axis=1).astype(np.float32)
        self.spatial = self._filter(self.places / self.param.multi_stage_meanfield_param.theta_gamma)
        return [(n, c, h, w)]

    def _filter(self, features: Floats) -> Filter:
        try:
            return Filter.of(features)
        except OverflowError as error:
            raise self.error(
                f"the image is too wide for its filter, {error}; raise theta_alpha, theta_beta or theta_gamma, or mend "
                "the image's values"
            ) from error

    def differentiable(self, bottom_index: int) -> bool:
        return bottom_index < 2

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        unary, start, image = (_pixels(each.data) for each in bottom)
        result = _pixels(top[0].data)
        self.bilateral = [self._bilateral(pixels) for pixels in image]
        self.scores: list[list[Floats]] = []
        for n, scores in enumerate(start):
            self.scores.append([])
            for _ in range(self.param.multi_stage_meanfield_param.num_iterations):
                self.scores[-1].append(np.array(scores))
                scores = unary[n] - self._weights()[2] @ self._pass(n, scores).passed
            result[n] = scores

    def _bilateral(self, image: Floats) -> Filter:
        p = self.param.multi_stage_meanfield_param
        if not np.isfinite(image).all():
            raise self.error(f"bottom {self.param.bottom[2]!r}, the image, has values that are infinite or NaN")
        return self._filter(np.concatenate([self.places / p.theta_alpha, image.T / p.theta_beta], axis=1))

    def _weights(self) -> list[Floats]:
        return [blob.data[0, 0] for blob in self.params]

    def _pass(self, n: int, scores: Floats) -> Messages:
        of_spatial, of_bilateral, _ = self._weights()
        prob = np.exp(scores - scores.max(axis=0))
        prob /= prob.sum(axis=0)
        spatial, bilateral = self.spatial.apply(prob), self.bilateral[n].apply(prob)
        return Messages(prob, spatial, bilateral, of_spatial @ spatial + of_bilateral @ bilateral)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        of_spatial, of_bilateral, compatibility = self._weights()
        for n, diff in enumerate(_pixels(top[0].diff)):
            of_unary = np.zeros_like(diff)
            for scores in reversed(self.scores[n]):
                made = self._pass(n, scores)
                of_unary += diff
                of_passed = -compatibility.T @ diff
                pairs = (of_passed, made.spatial), (of_passed, made.bilateral), (-diff, made.passed)
                for i, (left, right) in enumerate(pairs):
                    if self.param_propagate_down[i]:
                        self.params[i].diff[0, 0] += left @ right.T
                of_prob = self.spatial.transposed(of_spatial.T @ of_passed)
                of_prob += self.bilateral[n].transposed(of_bilateral.T @ of_passed)
                diff = made.prob * (of_prob - (of_prob * made.prob).sum(axis=0))
            for i, found in enumerate((of_unary, diff)):
                if propagate_down[i]:
                    _pixels(bottom[i].diff)[n] = found


def _pixels(images: Floats) -> Floats:
    """(n, channels, pixels)"""
    return images.reshape(*images.shape[:2], -1)
