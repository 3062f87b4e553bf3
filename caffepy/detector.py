"""pycaffe's Detector: a classifier run on windows of pictures, as by R-CNN (Girshick et al. 2014, arXiv 1311.2524)."""

import importlib
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy.errors import ArgumentError
from caffepy.io import load_image, resize_image
from caffepy.io.pictures import Array
from caffepy.pycaffe.arguments import Path
from caffepy.pycaffe.picture_net import PictureNet

Windows = Callable[[list[str]], Iterable[Iterable[npt.ArrayLike]]]

_SELECTIVE_SEARCH = "selective_search_ijcv_with_python"


class Detector(PictureNet):
    """A net that looks at windows of pictures, each warped to its input.

    mean, input_scale, raw_scale, channel_swap  the Transformer's; what is None is not done
    context_pad  so many pixels around a window, counted in the net's input, are what surrounds it in the picture, and
                 the mean beyond the picture's borders; None for the window alone
    """

    def __init__(
        self,
        model_file: Path,
        pretrained_file: Path,
        mean: npt.ArrayLike | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
        **beyond: Any,
    ) -> None:
        super().__init__(model_file, pretrained_file, mean, input_scale, raw_scale, channel_swap, **beyond)
        self.configure_crop(context_pad)

    def detect_windows(self, images_windows: Iterable[tuple[str, Iterable[npt.ArrayLike]]]) -> list[dict[str, Any]]:
        """What the net says of each window.

        images_windows  pairs of a picture's file name and windows (ymin, xmin, ymax, xmax) in its pixels
        returns         a dict for each window: `window`, `prediction` (the first output's values) and `filename`
        """
        detections: list[dict[str, Any]] = []
        crops: list[Array] = []
        for filename, windows in images_windows:
            image = load_image(filename, color=self.crop_dims[2] != 1)
            for window in windows:
                crops.append(self.crop(image, window))
                detections.append({"window": window, "prediction": None, "filename": filename})
        if crops:
            for detection, prediction in zip(detections, self.outputs_of(crops), strict=True):
                detection["prediction"] = prediction
        return detections

    def detect_selective_search(
        self, image_fnames: Iterable[str], get_windows: Windows | None = None
    ) -> list[dict[str, Any]]:
        """What the net says of each window that selective search proposes; see detect_windows.

        get_windows  from a list of absolute file names to the windows of each; by default that of the module
                     selective_search_ijcv_with_python, which runs MATLAB
        """
        names = [os.path.abspath(name) for name in image_fnames]
        if get_windows is None:
            try:
                get_windows = importlib.import_module(_SELECTIVE_SEARCH).get_windows
            except ImportError as error:
                raise ArgumentError(
                    f"detect_selective_search: the module {_SELECTIVE_SEARCH} is not there; put it on the path, or "
                    "give get_windows, a function from file names to the windows of each"
                ) from error
        return self.detect_windows(zip(names, get_windows(names), strict=True))

    def crop(self, im: Array, window: npt.ArrayLike) -> Array:
        """The window (ymin, xmin, ymax, xmax) of a picture (height, width, channels).

        With `context_pad` it and its context, warped to the net's input and with the mean where the picture ends.
        Raises ArgumentError where nothing of the picture is in it.
        """
        box = np.asarray(window, dtype=np.float64).ravel()
        if box.shape != (4,) or not np.isfinite(box).all():
            raise ArgumentError(f"Detector: a window is (ymin, xmin, ymax, xmax) in pixels, got {window!r}")
        if self.context_pad:
            return self._crop_with_context(im, box)
        top, left, bottom, right = (max(0, int(edge)) for edge in box)
        return _not_empty(im[top:bottom, left:right], im, box)

    def _crop_with_context(self, im: Array, window: Array) -> Array:
        """pycaffe's detector.py: the window about its centre, larger by size / (size - 2 context_pad)."""
        size = self.crop_dims[:2]
        half = (window[2:] - window[:2] + 1) / 2
        reach = half * (size / (size - 2 * self.context_pad))
        box = np.concatenate([window[:2] + half - reach, window[:2] + half + reach]).round()
        scale = size / (box[2:] - box[:2] + 1)
        start = np.round(np.maximum(0, -box[:2]) * scale).astype(int)
        limits = np.array(im.shape[:2])
        first, last = np.clip(box[:2], 0, limits).astype(int), np.clip(box[2:], 0, limits).astype(int)
        inside = _not_empty(im[first[0] : last[0], first[1] : last[1]], im, window)
        extent = np.minimum(np.round((last - first + 1) * scale).astype(int), size - start)
        if (extent < 1).any():
            raise ArgumentError(f"Detector: nothing of the window {window} is in the picture of shape {im.shape}")
        crop = self.crop_mean.copy()
        crop[start[0] : start[0] + extent[0], start[1] : start[1] + extent[1]] = resize_image(inside, extent.tolist())
        return crop

    def configure_crop(self, context_pad: int | None) -> None:
        """Set `context_pad`, and from it `crop_mean`: a picture, before preprocessing, that becomes zeros."""
        in_ = self.inputs[0]
        channels, height, width = self.blobs[in_].data.shape[1:]
        self.crop_dims = np.array([height, width, channels])
        self.context_pad = context_pad or 0
        if not 0 <= 2 * self.context_pad < min(height, width):
            raise ArgumentError(
                f"Detector: context_pad is {context_pad}; expected less than half of the input's {height} x {width}"
            )
        zeros = np.zeros((channels, height, width), np.float32)
        self.crop_mean = np.ascontiguousarray(self.transformer.deprocess(in_, zeros), np.float32)


def _not_empty(part: Array, im: Array, window: Array) -> Array:
    if not part.size:
        raise ArgumentError(f"Detector: nothing of the window {window} is in the picture of shape {im.shape}")
    return part
