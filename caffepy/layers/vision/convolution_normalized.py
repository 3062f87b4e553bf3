"""A convolution and what nets put behind it in place, BatchNorm by global statistics, Scale and ReLU, as one operation.

No layer calls it: a pass on a GPU puts it in the place of theirs, see caffepy.net.fusion.
"""

import math

import numpy as np

from caffepy.blob import Floats, Weights
from caffepy.kernels import kernel
from caffepy.layers.basis.elementwise import rectify
from caffepy.layers.vision import convolution_plan
from caffepy.layers.vision.convolution import convolution_forward
from caffepy.layers.vision.window import Window


@kernel("convolution_normalized.cu", plan=convolution_plan.normalized)
def convolution_normalized(
    bottom_data: Floats,
    weight_data: Weights,
    bias_data: Floats | None,
    mean_sum: Floats,
    variance_sum: Floats,
    weight_sum: Floats,
    mean: Floats,
    variance: Floats,
    scale_data: Floats | None,
    shift_data: Floats | None,
    kept: Floats | None,
    workspace: Floats,
    top_data: Floats,
    *,
    window: Window,
    group: int,
    eps: float,
    negative_slope: float = 1.0,
) -> None:
    """top = the convolution less its mean, over its deviation, times scale, plus shift, rectified.

    mean and variance (outputs) = the sums over their weight; kept = what the scale is applied to.
    """
    convolution_forward.twin(bottom_data, weight_data, bias_data, workspace, top_data, window=window, group=group)
    factor = np.float32(0) if weight_sum[0] == 0 else 1 / weight_sum[0]
    np.multiply(mean_sum, factor, out=mean)
    np.multiply(variance_sum, factor, out=variance)
    top = top_data.reshape(-1, mean.size, math.prod(top_data.shape[top_data.ndim - len(window.kernel) :]))
    top -= mean[:, None]
    top *= (1 / np.sqrt(variance + np.float32(eps)))[:, None]
    if kept is not None:
        kept[...] = top_data
    if scale_data is not None:
        top *= scale_data.reshape(-1, 1)
    if shift_data is not None:
        top += shift_data.reshape(-1, 1)
    if negative_slope != 1:
        rectify(top_data, negative_slope, top_data)
