"""Where the object of a class is, from its saliency map: weakly supervised localisation."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from caffepy.blob import Floats
from caffepy.errors import ArgumentError, DeviceError
from caffepy.net import Net
from caffepy.saliency import pictures
from caffepy.saliency.method import Method
from caffepy.saliency.methods.gradients import gradient
from caffepy.saliency.target import Target

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Localization:
    """The object of one image."""

    box: tuple[int, int, int, int]
    """left, top, right, bottom in pixels of the picture, right and bottom outside."""
    mask: Mask
    """(height, width) of the picture."""
    map: Floats
    """The saliency that it was found by."""
    target: str
    picture: pictures.Picture

    def drawn(self, *, longest: int = 480) -> pictures.Picture:
        """The picture, the object in colour on grey, the box around it."""
        from PIL import Image, ImageDraw

        grey = np.repeat((self.picture.mean(axis=2, keepdims=True) * 0.5).astype(np.uint8), 3, axis=2)
        shown = pictures.enlarged(np.where(self.mask[:, :, None], self.picture, grey), longest)
        factor = longest / max(self.picture.shape[:2])
        image = Image.fromarray(shown)
        left, top, right, bottom = (round(edge * factor) for edge in self.box)
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), outline=(255, 170, 30), width=3)
        return np.array(image)


def localize(
    net: Net,
    image: Any,
    target: Target = "top",
    *,
    method: Method = gradient,
    foreground: float = 0.95,
    background: float = 0.30,
    iterations: int = 5,
    **arguments: Any,
) -> Localization:
    """The object that the target's saliency map points at (Simonyan, Vedaldi & Zisserman 2013, section 3.2).

    Pixels above the map's `foreground` quantile are the object's, those below its `background` quantile are not; both
    give colour models to a graph cut, which decides about all others (OpenCV's GrabCut; install caffepy[localize]). The
    box is around the largest connected part.
    """
    if not 0 <= background < foreground <= 1:
        raise ArgumentError(f"background {background} must be below foreground {foreground}, both from 0 to 1")
    result = method(net, image, target, **arguments)
    if len(result) != 1:
        raise ArgumentError(f"localize works on one image and one target, got {len(result)} maps")
    values = np.abs(result.upsampled()[0])
    picture = result.picture(0)
    mask = _cut(picture, values, foreground, background, iterations)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise ArgumentError("the map points nowhere: it is the same all over the image; try another target or method")
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    return Localization(box, mask, values, result.target[0], picture)


def _cut(picture: pictures.Picture, values: Floats, foreground: float, background: float, iterations: int) -> Mask:
    try:
        import cv2
    except ImportError as error:
        raise DeviceError(
            "localize cuts the object out with OpenCV, which is not installed: pip install caffepy[localize]"
        ) from error
    smooth = pictures.smooth(values, max(0.01 * max(values.shape), 0.5))
    sure, never = np.quantile(smooth, [foreground, background])
    if not smooth.max() > smooth.min():
        return np.zeros(values.shape, np.bool_)
    labels = np.full(values.shape, cv2.GC_PR_BGD, np.uint8)
    labels[smooth >= (sure + never) / 2] = cv2.GC_PR_FGD
    labels[smooth >= sure] = cv2.GC_FGD
    labels[smooth < never] = cv2.GC_BGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(picture), labels, (0, 0, 1, 1), *models, iterations, cv2.GC_INIT_WITH_MASK)
    inside = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    count, parts, sizes, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    if count < 2:
        return inside.astype(np.bool_)
    found: Mask = parts == 1 + int(sizes[1:, cv2.CC_STAT_AREA].argmax())
    return found
