"""Operations of saliency methods: batches of images to try, and maps of what is found."""

import numpy as np

from caffepy.blob import Floats, Ints
from caffepy.kernels import kernel

# ---- batches


@kernel("saliency.cu", per="images", each=4)
def product_of(first: Floats, second: Floats, images: Floats) -> None:
    """images = first * second"""
    np.multiply(first, second, out=images)


@kernel("saliency.cu", per="total")
def weighted_powers(values: Floats, weights: Floats, terms: int, power: int, total: Floats) -> None:
    """total[i] += sum over k < terms of weights[k] * values[k, i] ^ power, power 1 or 2"""
    rows = values.reshape(terms, -1)
    if power == 2:
        rows = np.square(rows)
    total.reshape(-1)[...] += weights[:terms] @ rows


@kernel("saliency.cu", per="noisy")
def noisy_forward(image: Floats, inner: int, seed: Ints, first: int, sigma: Floats, noisy: Floats) -> None:
    """noisy[k, i] = image[i] + sigma[0] * normal deviate number (first + k) * inner + i of the seed

    Number j is sqrt(-2 log(1 - u[2 j])) * cos(2 pi u[2 j + 1]) (Box & Muller 1958), u the singles of Philox 4x64 with
    10 rounds and key seed[0].
    """
    generator = np.random.Generator(np.random.Philox(key=int(seed[0])))
    start, count = 2 * first * inner, 2 * noisy.size
    skipped = start // 8 * 8
    generator.bit_generator.advance(skipped // 8)  # type: ignore[attr-defined]
    uniform = generator.random(start - skipped + count, dtype=np.float32)[start - skipped :].reshape(-1, 2)
    radius = np.sqrt(np.float32(-2) * np.log(np.float32(1) - uniform[:, 0]))
    deviates = radius * np.cos(np.float32(2 * np.pi) * uniform[:, 1])
    np.add(image.reshape(-1), sigma[0] * deviates.reshape(-1, inner), out=noisy.reshape(-1, inner))


@kernel("saliency.cu", per="path")
def path_forward(start: Floats, end: Floats, inner: int, own: int, alphas: Floats, path: Floats) -> None:
    """path[k, i] = start[i] + alphas[k] * (end[i] - start[i]); own: a start for each k, start[k, i]"""
    begin = start.reshape(-1, inner)
    step = end.reshape(-1) - begin
    np.add(begin, alphas[:, None] * step, out=path.reshape(-1, inner))


@kernel("saliency.cu", rows="slopes")
def slopes_forward(gradient: Floats, start: Floats, end: Floats, inner: int, slopes: Floats) -> None:
    """slopes[k] = sum over i of gradient[k, i] * (end[i] - start[i])"""
    np.matmul(gradient.reshape(-1, inner), (end - start).reshape(-1), out=slopes)


@kernel("saliency.cu", per="blended")
def blend_forward(image: Floats, background: Floats, masks: Floats, channels: int, inner: int, blended: Floats) -> None:
    """blended[k, c, i] = background[c, i] + masks[k, i] * (image[c, i] - background[c, i])"""
    step = (image - background).reshape(1, channels, inner)
    product = masks.reshape(-1, 1, inner) * step
    np.add(background.reshape(1, channels, inner), product, out=blended.reshape(-1, channels, inner))


# ---- maps


@kernel("saliency.cu", per="maps")
def channel_sum_forward(
    values: Floats, weights: Floats | None, channels: int, inner: int, positive: int, maps: Floats
) -> None:
    """maps[n, i] = sum over c of weights[n, c] * values[n, c, i]; missing weights are 1; max(that, 0) if positive"""
    rows = values.reshape(-1, channels, inner)
    if weights is None:
        found = rows.sum(axis=1)
    else:
        found = np.einsum("nci,nc->ni", rows, weights.reshape(-1, channels))
    maps.reshape(-1, inner)[...] = np.maximum(found, 0) if positive else found


@kernel("saliency.cu", rows="weights")
def cam_weights(values: Floats, gradient: Floats, inner: int, plus_plus: int, weights: Floats) -> None:
    """weights[n, c] = mean over i of gradient; plus_plus: sum over i of alpha * max(gradient, 0), where
    alpha = gradient^2 / (2 gradient^2 + gradient^3 * sum over i of values + 1e-6), 0 where gradient is 0"""
    a, g = values.reshape(-1, inner), gradient.reshape(-1, inner)
    if not plus_plus:
        np.mean(g, axis=1, out=weights.reshape(-1))
        return
    square = np.square(g)
    divisor = 2 * square + a.sum(axis=1, keepdims=True) * square * g + np.float32(1e-6)
    alpha = np.divide(square, divisor, out=np.zeros_like(square), where=g != 0)
    np.sum(alpha * np.maximum(g, 0), axis=1, out=weights.reshape(-1))


@kernel("saliency.cu", rows="lows")
def ranges_of(values: Floats, inner: int, sizes: int, lows: Floats, highs: Floats) -> None:
    """lows[n], highs[n] = the least and the greatest of values[n, i]; sizes: of their absolute values"""
    rows = values.reshape(-1, inner)
    rows = np.abs(rows) if sizes else rows
    lows.reshape(-1)[...], highs.reshape(-1)[...] = rows.min(axis=1), rows.max(axis=1)


@kernel("saliency.cu", per="scaled")
def unit_range(values: Floats, inner: int, lows: Floats, highs: Floats, scaled: Floats) -> None:
    """scaled[n, i] = (values[n, i] - lows[n]) / (highs[n] - lows[n] + 1e-8)"""
    low, high = lows.reshape(-1, 1), highs.reshape(-1, 1)
    np.divide(values.reshape(-1, inner) - low, high - low + np.float32(1e-8), out=scaled.reshape(-1, inner))


@kernel("saliency.cu", per="maps")
def unit_range_sum(values: Floats, channels: int, inner: int, lows: Floats, highs: Floats, maps: Floats) -> None:
    """maps[n, i] = sum over c of (|values[n, c, i]| - lows[n]) / max(highs[n] - lows[n], 1e-12)"""
    low, high = lows.reshape(-1, 1, 1), highs.reshape(-1, 1, 1)
    scaled = (np.abs(values.reshape(-1, channels, inner)) - low) / np.maximum(high - low, np.float32(1e-12))
    np.sum(scaled, axis=1, out=maps.reshape(-1, inner))


@kernel("saliency.cu", per="mixed")
def mix_forward(values: Floats, matrix: Floats, source: int, target: int, inner: int, mixed: Floats) -> None:
    """mixed[o, t, i] = sum over s of matrix[t, s] * values[o, s, i]: a linear map along one axis"""
    rows = values.reshape(-1, source, inner)
    np.matmul(matrix.reshape(target, source), rows, out=mixed.reshape(-1, target, inner))


# ---- masks


@kernel("saliency.cu", per="masks")
def window_masks(corners: Ints, height: int, width: int, rows: int, columns: int, masks: Floats) -> None:
    """masks[k, y, x] = 1 inside the window of rows x columns whose corner is corners[k] (y, x), else 0"""
    images = masks.reshape(-1, height, width)
    images[...] = 0
    for image, (y, x) in zip(images, corners.reshape(-1, 2), strict=True):
        image[max(y, 0) : max(y + rows, 0), max(x, 0) : max(x + columns, 0)] = 1


@kernel("saliency.cu", per="masks")
def random_masks(
    grids: Floats, shifts: Ints, cells: int, cell_height: int, cell_width: int, height: int, width: int, masks: Floats
) -> None:
    """masks[k, y, x] = grids[k] (cells x cells), bilinear, at ((y + shift) / cell_height, (x + shift) / cell_width)

    Between the centres of cells; beyond the outermost the grid goes on as it ends.
    """
    places = []
    for axis, (cell, size) in enumerate(((cell_height, height), (cell_width, width))):
        at = (np.arange(size) + shifts.reshape(-1, 2)[:, axis, None] + np.float32(0.5)) / np.float32(cell)
        at = np.clip(at - np.float32(0.5), 0, cells - 1).astype(np.float32)
        low = np.minimum(at.astype(np.int64), cells - 2)
        places.append((low, (at - low).astype(np.float32)))
    (y, down), (x, right) = places
    for k, grid in enumerate(grids.reshape(-1, cells, cells)):
        above = grid[y[k]] * (1 - down[k])[:, None] + grid[y[k] + 1] * down[k][:, None]
        columns = above[:, x[k]] * (1 - right[k]) + above[:, x[k] + 1] * right[k]
        masks.reshape(-1, height, width)[k] = columns


@kernel("saliency.cu", per="ablated")
def ablate_forward(values: Floats, channels: int, inner: int, first: int, ablated: Floats) -> None:
    """ablated[k] = values (channels, inner), of which channel first + k is 0"""
    copies = ablated.reshape(-1, channels, inner)
    copies[...] = values.reshape(channels, inner)
    for k, copy in enumerate(copies):
        copy[first + k] = 0
