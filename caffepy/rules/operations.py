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
    """bottom_diff = top_diff * (top - its reference) / (bottom - its reference)

    The first `half` elements are the images', the others, in the same order, their references'; where bottom and
    reference are nearly equal, bottom_diff = derivative, which is top_diff times the derivative.
    """
    x, y = bottom_data.reshape(-1), top_data.reshape(-1)
    step = x[:half] - x[half:]
    apart = np.abs(step) >= 1e-7
    slope = np.divide(y[:half] - y[half:], step, out=np.zeros_like(step), where=apart)
    for part in (slice(None, half), slice(half, None)):
        bottom_diff.reshape(-1)[part] = np.where(
            apart, top_diff.reshape(-1)[part] * slope, derivative.reshape(-1)[part]
        )
