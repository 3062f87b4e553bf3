"""WindowData: batches of windows of pictures, warped to one size."""

import numpy as np

from caffepy.blob import Floats
from caffepy.data.sources import Source
from caffepy.data.transform import DataTransformer
from caffepy.data.windows import WindowSource, read_windows
from caffepy.layer import register
from caffepy.layers.data.prefetching import PrefetchingLayer
from caffepy.rng import Mt19937, process


@register("WindowData", bottoms=0, tops=2)
class WindowData(PrefetchingLayer):
    """Nothing -> data (batch_size, 3, crop_size, crop_size), labels (batch_size): windows that `source` lists, drawn at
    random in every phase, batch_size * fg_fraction of them foreground, behind the background ones; (value - mean) *
    window_data_param's scale (Caffe: window_data_layer.cpp; Girshick et al. 2014).
    """

    def batch_size(self) -> int:
        return self.param.window_data_param.batch_size

    def open(self) -> tuple[Source, DataTransformer]:
        p, transform = self.param.window_data_param, self.param.transform_param
        if not transform.crop_size:
            raise self.error("give transform_param crop_size, the size that windows are warped to")
        if 2 * p.context_pad >= transform.crop_size:
            raise self.error(f"context_pad {p.context_pad} leaves nothing of crop_size {transform.crop_size}")
        if not 0 <= p.fg_fraction <= 1:
            raise self.error(f"fg_fraction {p.fg_fraction} must be of 0 to 1")
        windows = read_windows(p.source, p.fg_threshold, p.bg_threshold)
        source = WindowSource(
            windows,
            Mt19937(process().draw()),
            p.batch_size,
            transform.crop_size,
            int(np.float32(p.batch_size) * np.float32(p.fg_fraction)),
            root_folder=p.root_folder,
            context_pad=p.context_pad,
            square=p.crop_mode == "square",
            mirror=transform.mirror,
            mean=self._mean(),
            scale=p.scale,
            cache=p.cache_images,
        )
        return source, DataTransformer()  # the source itself has subtracted the mean

    def _mean(self) -> Floats | None:
        mean, size = self.transformer.mean, self.param.transform_param.crop_size
        if mean is None or mean.shape[1:] == (1, 1):
            if mean is not None and len(mean) not in (1, 3):
                raise self.error(f"{len(mean)} mean_value for 3 channels; give one, or one for each")
            return mean
        if mean.shape[0] != 3 or min(mean.shape[1:]) < size:
            raise self.error(f"mean_file has shape {mean.shape}; it must have 3 channels of {size} x {size} or more")
        start = (mean.shape[2] - size) // 2  # of both axes, as in Caffe
        if start + size > mean.shape[1]:
            raise self.error(f"mean_file has shape {mean.shape}; its rows must be as many as its columns, or more")
        return mean[:, start : start + size, start : start + size]
