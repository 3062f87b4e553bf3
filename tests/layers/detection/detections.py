"""What the tests of detection layers share: slow definitions."""

import math


def overlap(a, b, border=0.0):
    """Intersection over union of two boxes xmin, ymin, xmax, ymax."""
    wide = min(a[2], b[2]) - max(a[0], b[0]) + border
    high = min(a[3], b[3]) - max(a[1], b[1]) + border
    if wide <= 0 or high <= 0:
        return 0.0
    size = [max(0, box[2] - box[0] + border) * max(0, box[3] - box[1] + border) for box in (a, b)]
    return wide * high / (size[0] + size[1] - wide * high)


def suppressed(boxes, threshold, eta=1.0, border=0):
    """Which of the boxes, best first, stay: each against all that are kept, as SSD's loop."""
    kept = []
    for i, box in enumerate(boxes):
        if all(overlap(box, boxes[k], border) <= threshold for k in kept):
            kept.append(i)
            if eta < 1 and threshold > 0.5:
                threshold *= eta
    return kept


def centre_size(code, prior, variance=(1, 1, 1, 1)):
    """The box that a CENTER_SIZE code means."""
    wide, high = prior[2] - prior[0], prior[3] - prior[1]
    x = (prior[0] + prior[2]) / 2 + variance[0] * code[0] * wide
    y = (prior[1] + prior[3]) / 2 + variance[1] * code[1] * high
    wide, high = wide * math.exp(variance[2] * code[2]), high * math.exp(variance[3] * code[3])
    return [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]


def corner(code, prior, variance=(1, 1, 1, 1)):
    """The box that a CORNER code means."""
    return [p + v * c for p, v, c in zip(prior, variance, code, strict=True)]


def corner_size(code, prior, variance=(1, 1, 1, 1)):
    """The box that a CORNER_SIZE code means."""
    sizes = [prior[2] - prior[0], prior[3] - prior[1]] * 2
    return [p + v * c * s for p, v, c, s in zip(prior, variance, code, sizes, strict=True)]


def matched(priors, objects, each):
    """For each prior its object or -1, and its largest overlap: pairs by falling overlap, then the best for each."""
    found, most = [-1] * len(priors), [0.0] * len(priors)
    table = {}
    for i, prior in enumerate(priors):
        for j, obj in enumerate(objects):
            if (size := overlap(prior, obj)) > 1e-6:
                most[i] = max(most[i], size)
                table[i, j] = size
    left = set(range(len(objects)))
    while left:
        pairs = [(-size, i, j) for (i, j), size in table.items() if found[i] == -1 and j in left]
        if not pairs:
            break
        _, i, j = min(pairs)
        found[i] = j
        left.remove(j)
    if each is not None:
        for i in range(len(priors)):
            pairs = [(-size, j) for (k, j), size in table.items() if k == i and size >= each]
            if found[i] == -1 and pairs:
                found[i] = min(pairs)[1]
    return found, most
