"""Operations that rules are made of."""

import numpy as np

from caffepy.blob import Floats
from caffepy.kernels import kernel
from caffepy.layers.basis.elementwise import blocks


@kernel("rules.cu", per="part", each=4)
def part_of(values: Floats, sign: float, part: Floats) -> None:
    """part = max(values, 0) if sign > 0 else min(values, 0)"""
    (np.maximum if sign > 0 else np.minimum)(values, 0, out=part)


@kernel("rules.cu", per="quotient")
def relevance_quotient(relevance: Floats, output: Floats, epsilon: float, quotient: Floats) -> None:
    """quotient = relevance / (output + epsilon * sign(output)), sign(0) = 1; 0 where that divides by 0"""
    for r, z, q in blocks(relevance, output, quotient):
        steady = z + np.where(z >= 0, np.float32(epsilon), np.float32(-epsilon))
        np.divide(r, steady, out=q, where=steady != 0)
        q[steady == 0] = 0


@kernel("rules.cu", per="relevance")
def relevance_product(values: Floats | None, diff: Floats, factor: float, accumulate: int, relevance: Floats) -> None:
    """relevance = (relevance if accumulate else 0) + factor * values * diff; missing values are 1"""
    arrays = (diff, relevance) if values is None else (diff, relevance, values)
    for part in blocks(*arrays):
        product = part[0] * np.float32(factor)
        if values is not None:
            product *= part[2]
        if accumulate:
            part[1][...] += product
        else:
            part[1][...] = product


@kernel("rules.cu", per="result", each=4)
def favored(values: Floats, gamma: float, sign: float, result: Floats) -> None:
    """result = values + gamma * (their part of that sign)"""
    for x, y in blocks(values, result):
        np.add(x, np.float32(gamma) * (np.maximum if sign > 0 else np.minimum)(x, 0), out=y)


@kernel("rules.cu", per="bottom_diff")
def rescale_backward(
    bottom_data: Floats, top_data: Floats, half: int, top_diff: Floats, derivative: Floats, bottom_diff: Floats
) -> None:
    """bottom_diff, in both halves = top_diff * (top - its reference) / (bottom - its reference) of the image

    The first `half` elements are the images', the others, in the same order, their references'; where bottom and
    reference are nearly equal, it is the image's derivative, which is top_diff times the derivative.
    """
    x, y = bottom_data.reshape(-1), top_data.reshape(-1)
    step = x[:half] - x[half:]
    apart = np.abs(step) >= np.float32(1e-7)
    slope = (y[:half] - y[half:]) / np.where(apart, step, 1)
    found = np.where(apart, top_diff.reshape(-1)[:half] * slope, derivative.reshape(-1)[:half])
    bottom_diff.reshape(2, -1)[...] = found


@kernel("rules.cu", per="mean")
def halves_mean(values: Floats, half: int, mean: Floats) -> None:
    """mean, in both halves = (the images' values + their references') / 2"""
    pair = values.reshape(2, half)
    mean.reshape(2, half)[...] = (pair[0] + pair[1]) / 2


@kernel("rules.cu", per="values", each=4)
def keep_of_sign(judge: Floats, sign: float, values: Floats) -> None:
    """values = values if judge * sign > 0 else 0"""
    for j, v in blocks(judge, values):
        v[~(j * np.float32(sign) > 0)] = 0


@kernel("rules.cu", per="factor")
def fold_statistics(
    mean: Floats | None,
    variance: Floats | None,
    eps: float,
    scale: Floats | None,
    shift: Floats | None,
    factor: Floats,
    offset: Floats,
) -> None:
    """factor * z + offset = scale * (z - mean) / sqrt(variance + eps) + shift; what is missing changes nothing"""
    factor[...] = 1 if scale is None else scale.reshape(-1)
    if mean is not None and variance is not None:
        factor /= np.sqrt(variance + np.float32(eps))
        offset[...] = -mean * factor
    else:
        offset[...] = 0
    if shift is not None:
        offset += shift.reshape(-1)


@kernel("rules.cu", per="spread")
def pool_rescale(top_data: Floats, half: int, top_diff: Floats, spread: Floats) -> None:
    """spread = top_diff * (the greater of image and reference - reference), and in the references' half
    top_diff of the image * (image - the greater), by tops"""
    y, dy, s = top_data.reshape(-1), top_diff.reshape(-1), spread.reshape(-1)
    greater = np.maximum(y[:half], y[half:])
    s[:half], s[half:] = dy[:half] * (greater - y[half:]), dy[:half] * (y[:half] - greater)


@kernel("rules.cu", per="bottom_diff")
def pool_rescale_backward(
    bottom_data: Floats, half: int, spread: Floats, derivative: Floats, bottom_diff: Floats
) -> None:
    """bottom_diff, in both halves = the sum of spread's halves / (bottom - its reference), or the image's derivative"""
    x, s = bottom_data.reshape(-1), spread.reshape(-1)
    step = x[:half] - x[half:]
    apart = np.abs(step) >= np.float32(1e-7)
    found = np.where(apart, (s[:half] + s[half:]) / np.where(apart, step, 1), derivative.reshape(-1)[:half])
    bottom_diff.reshape(2, -1)[...] = found


@kernel("rules.cu", per="bottom_diff")
def lrn_rescale_backward(
    bottom_data: Floats,
    scale: Floats,
    half: int,
    channels: int,
    inner: int,
    local_size: int,
    alpha: float,
    beta: float,
    top_diff: Floats,
    bottom_diff: Floats,
) -> None:
    """bottom_diff, in both halves = mean(g) top_diff + alpha / local_size * (x + r) * sum over channels around of
    top_diff * mean(x) * slope of g

    x and r are image and reference, g = scale^-beta, means are over both, slope = (g of x - g of r) / (scale of x - of
    r), where they are near by the derivative between them. So top * top_diff's difference is spread without rest.
    """
    (x, r), (s, t) = (array.reshape(2, -1, channels, inner) for array in (bottom_data, scale))
    dy = top_diff.reshape(2, -1, channels, inner)[0]
    g, h, step, middle = s**-beta, t**-beta, s - t, (s + t) / 2
    near = np.abs(step) < np.float32(0.01) * middle
    slope = np.where(near, -beta * middle ** (-beta - 1), (g - h) / np.where(near, 1, step))
    share = (dy * (x + r) / 2 * slope).astype(np.float32)
    reach, around = local_size // 2, np.zeros_like(share)
    for shift in range(-reach, reach + 1):
        source = slice(max(shift, 0), channels + min(shift, 0))
        around[:, max(-shift, 0) : channels - max(shift, 0)] += share[:, source]
    found = dy * (g + h) / 2 + np.float32(alpha / local_size) * (x + r) * around
    bottom_diff.reshape(2, *found.shape)[...] = found
