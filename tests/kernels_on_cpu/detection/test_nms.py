"""What SSD's and Faster R-CNN's heads launch: the same boxes on either device, to the bit."""

import numpy as np
import pytest

from caffepy.layers.detection.boxes import suppress
from caffepy.layers.detection.detection_output import candidate_scores, decode_boxes
from caffepy.layers.detection.nms import keep_best, nms, write_detections, write_regions
from caffepy.layers.detection.proposal import region_candidates
from tests.gpu_mode import check_bodies, noise, whole

pytestmark = pytest.mark.usefixtures("gpu")

EXACT = {"rtol": 0, "atol": 0}
ITEMS, CLASSES, NUMBER = 2, 3, 150


def _boxes(loc_classes: int = 1) -> np.ndarray:
    rng = np.random.default_rng(5)
    low = rng.uniform(0, 0.8, (ITEMS, NUMBER, loc_classes, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.02, 0.3, low.shape)], axis=-1).astype(np.float32)
    boxes[0, 3] = boxes[0, 4, :, ::-1]  # turned inside out
    boxes[1, 5] = np.nan
    boxes[1, 6] = np.inf
    return boxes


def _scores() -> np.ndarray:
    """With many ties, zeros of both signs, infinities, and lists without candidates and with few."""
    scores = np.random.default_rng(6).integers(-9, 9, (ITEMS, CLASSES, NUMBER)).astype(np.float32) / 4
    scores[0, 0, ::2] = -scores[0, 0, ::2]
    scores[0, 1, 100:] = [np.inf, -np.inf] * 25
    scores[1, 0] = np.nan
    scores[1, 1, 2:] = np.nan
    return scores


@pytest.mark.parametrize("loc_classes", [1, CLASSES])
@pytest.mark.parametrize(
    ("looked", "room", "threshold", "eta", "border"),
    [
        (150, 150, 0.45, 1.0, 0),
        (70, 9, 0.3, 1.0, 1),
        (150, 40, 0.9, 0.8, 0),
        (64, 64, 0.0, 1.0, 0),
        (0, 0, 0.5, 1.0, 0),
    ],
)
def test_lists(loc_classes: int, looked: int, room: int, threshold: float, eta: float, border: int) -> None:
    boxes, scores, workspace = _boxes(loc_classes), _scores(), noise(4 * ITEMS * CLASSES * NUMBER)
    kept, counts = np.full((ITEMS * CLASSES, room), 77, np.int32), np.full(ITEMS * CLASSES, 77, np.int32)
    sizes = loc_classes, CLASSES, NUMBER
    arguments = *sizes, looked, room, threshold, eta, border
    check_bodies(nms, boxes, scores, *arguments, workspace, kept, counts, **EXACT)
    nms(boxes, scores, *arguments, workspace, kept, counts)
    if room:
        assert counts.max() > 1 > counts.min()
    for most in (1, 10, 10**6):
        check_bodies(keep_best, scores, kept, *sizes[1:], room, most, workspace, counts, **EXACT)
    top = noise(max(1, room) * ITEMS * CLASSES, 7)
    check_bodies(write_detections, boxes, scores, kept, counts, *sizes, room, whole(9), top, **EXACT)


def test_suppression_takes_the_first_of_equal_scores() -> None:
    """Of 200 boxes in one place with one score, the first; of 200 that are apart, all, in their order."""
    workspace, kept, counts = noise(800), np.zeros((1, 200), np.int32), whole(0)
    together = np.tile(np.float32([0, 0, 1, 1]), (1, 200, 1, 1))
    apart = together + 2 * np.arange(200, dtype=np.float32)[:, None, None]
    for boxes, expected in ((together, [0]), (apart, np.arange(200))):
        arguments = boxes, np.ones((1, 1, 200), np.float32), 1, 1, 200, 200, 200, 0.5, 1.0, 0
        check_bodies(nms, *arguments, workspace, kept, counts, **EXACT)
        np.testing.assert_array_equal(suppress(boxes[0, :, 0], 0.5), expected)


@pytest.mark.parametrize("counts", [whole(3, 5), whole(0, 2), whole(5, 0), whole(0, 0)])
def test_regions(counts: np.ndarray) -> None:
    boxes, scores = _boxes(), _scores()[:, :1].copy()
    kept = np.random.default_rng(1).permutation(NUMBER)[:10].reshape(2, 5).astype(np.int32)
    lists = boxes, scores, kept, counts, NUMBER, 5
    check_bodies(write_regions, *lists, whole(9), noise(10, 5), noise(10), **EXACT)
    check_bodies(write_regions, *lists, whole(9), noise(10, 5), None, **EXACT)


def test_nothing_is_found() -> None:
    nothing = _boxes(), np.full((2, 3, NUMBER), np.nan, np.float32), np.zeros((6, 4), np.int32), np.zeros(6, np.int32)
    check_bodies(write_detections, *nothing, 1, CLASSES, NUMBER, 4, whole(9), noise(12, 7), **EXACT)


@pytest.mark.parametrize("code_type", [1, 2, 3])
@pytest.mark.parametrize("loc_classes", [1, 3])
def test_decoded_boxes(code_type: int, loc_classes: int) -> None:
    location, first, prior = noise(ITEMS, NUMBER * loc_classes * 4), noise(ITEMS, NUMBER * 4), noise(1, 2, NUMBER * 4)
    location[0, :4] = [np.nan, 1, 100, np.inf]
    sizes = NUMBER, loc_classes, code_type
    for moves, encoded in ((first, 0), (first, 1), (None, 0)):
        boxes = noise(ITEMS, NUMBER, loc_classes, 4)
        check_bodies(decode_boxes, location, moves, prior, *sizes, encoded, boxes, **EXACT)


@pytest.mark.parametrize("background", [-1, 0, 2])
def test_candidates(background: int) -> None:
    confidence, objectness = noise(ITEMS, NUMBER * CLASSES), noise(ITEMS, NUMBER * 2)
    confidence[0, :3] = [np.nan, np.inf, -np.inf]
    for given in (objectness, None):
        sizes = CLASSES, NUMBER, background
        check_bodies(candidate_scores, confidence, given, *sizes, 0.1, 0.3, noise(ITEMS, CLASSES, NUMBER), **EXACT)


@pytest.mark.parametrize("image", [[60, 70, 1.5], [60, 70, 1, 1.25]])
def test_region_candidates(image: list[float]) -> None:
    scores, deltas, anchors = noise(2, 6, 4, 5), noise(2, 12, 4, 5), 20 * noise(3, 4)
    deltas[0, 3, 1, 1] = np.nan
    images = np.float32([image, [*image[::-1]]])
    sizes = 3, 4, 5, len(image), 16, 8.0
    check_bodies(region_candidates, scores, deltas, images, anchors, *sizes, noise(2, 60, 4), noise(2, 60), **EXACT)
