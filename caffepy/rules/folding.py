"""A layer of products together with the BatchNorm and Scale layers behind it: one product with other weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caffepy.blob import Blob
from caffepy.graph import Wiring
from caffepy.layer import Layer
from caffepy.layers.common.inner_product import InnerProduct
from caffepy.layers.common.scale import Scale, scale_forward
from caffepy.layers.normalization.batch_norm import BatchNorm
from caffepy.layers.vision.convolution import BaseConvolution, Convolution
from caffepy.net.rules import Memory
from caffepy.rules.operations import fold_statistics

PRODUCTS = (BaseConvolution, InnerProduct)


@dataclass(frozen=True, eq=False)
class Folded:
    """What stands behind a layer of products, by channel."""

    norm: BatchNorm | None = None
    scale: Scale | None = None


def followers(index: int, layers: Sequence[Layer], wiring: Wiring) -> list[int]:
    """The BatchNorm and the Scale that alone consume what the layer computes, as far as they can be folded into it."""
    layer, found = layers[index], list[int]()
    foldable = isinstance(layer, Convolution) or (isinstance(layer, InnerProduct) and not layer.transpose)
    if not foldable or len(layer.param.top) != 1:
        return []
    kinds: list[type[Layer]] = [BatchNorm, Scale]
    version = index, 0
    while kinds:
        users = [i for i, sources in enumerate(wiring.sources) if version in sources]
        if len(users) != 1 or not isinstance(layers[users[0]], tuple(kinds)):
            break
        user = layers[users[0]]
        if isinstance(user, BatchNorm) and (not user.use_global_stats or len(user.blobs) > 3):
            break  # by the batch's statistics, or with a scale of its own
        if isinstance(user, Scale) and (not user.learned or user.axis != 1 or len(user.blobs[0].shape) != 1):
            break
        found.append(users[0])
        kinds = kinds[kinds.index(type(user)) + 1 :]
        version = users[0], 0
    return found


def weights_of(layer: Layer, folded: Folded | None, memory: Memory) -> list[Blob]:
    """The layer's weights and bias, or those of the one product that it makes with what is folded."""
    if folded is None:
        return list(layer.blobs)
    weight, channels = layer.blobs[0], layer.blobs[0].shape[0]
    factor, offset = memory.scratch("factor", (channels,)), memory.scratch("offset", (channels,))
    norm, scale = folded.norm, folded.scale
    mean, variance, eps = (None, None, 0.0) if norm is None else (norm.mean.array, norm.variance.array, norm.added)
    operands: list[Any] = [*([] if scale is None else (blob.arrays().data for blob in scale.blobs)), None, None]
    fold_statistics(mean, variance, eps, operands[0], operands[1], _written(factor), _written(offset))
    made = [memory.scratch("folded weights", weight.shape), memory.scratch("folded bias", (channels,))]
    inner = math.prod(weight.shape[1:])
    by, shift = factor.arrays().data, offset.arrays().data
    scale_forward(weight.arrays().data, by, None, 1, channels, inner, None, _written(made[0]))
    if len(layer.blobs) > 1:
        scale_forward(layer.blobs[1].arrays().data, by, shift, 1, channels, 1, None, _written(made[1]))
    else:
        made[1] = offset
    return made


def _written(blob: Blob) -> Any:
    return blob.arrays(("overwrite", "read")).data
