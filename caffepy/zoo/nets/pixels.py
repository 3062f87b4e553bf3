"""Nets that answer for places of the image: FCN-8s and SSD."""

from caffepy.net_spec import Top
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.zoo.nets.classic import vgg_stages
from caffepy.zoo.nets.writer import MSRA, Writer


def fcn8s(batch: int = 1, size: int = 500, classes: int = 21) -> NetParameter:
    """Long, Shelhamer & Darrell 2015, on VGG-16; scores (batch, classes, size, size)."""
    w = Writer("FCN-8s", batch, size)
    pool3, pool4, pool5 = (pool for _, pool in vgg_stages(w, (2, 2, 3, 3, 3), first_pad=100)[2:])

    def wider(name: str, bottom: Top, kernel: int) -> Top:
        window = {"num_output": classes, "kernel_size": kernel, "stride": kernel // 2, "bias_term": False}
        return w.add(name, "Deconvolution", bottom, convolution_param={**window, "weight_filler": MSRA})

    def crop(name: str, bottom: Top, like: Top, offset: int) -> Top:
        return w.add(name, "Crop", bottom, like, crop_param={"axis": 2, "offset": [offset]})

    top = w.dropout("drop6", w.conv_relu("fc6", pool5, 4096, 7, relu="relu6"))
    top = w.dropout("drop7", w.conv_relu("fc7", top, 4096, 1, relu="relu7"))
    top = wider("upscore2", w.conv("score_fr", top, classes, 1), 4)
    for number, pool, offset in ((4, pool4, 5), (3, pool3, 9)):
        scores = w.conv(f"score_pool{number}", pool, classes, 1)
        top = w.add(f"fuse_pool{number}", "Eltwise", top, crop(f"score_pool{number}c", scores, top, offset))
        top = wider(f"upscore_pool{number}" if number == 4 else "upscore8", top, 4 if number == 4 else 16)
    crop("score", top, w.data, 31)
    return w.net()


BOXES = (
    (30, 60, (2,), 8),
    (60, 111, (2, 3), 16),
    (111, 162, (2, 3), 32),
    (162, 213, (2, 3), 64),
    (213, 264, (2,), 100),
    (264, 315, (2,), 300),
)
"""Of the six maps: the default boxes' smallest and largest size, aspect ratios, and their distance, in pixels."""


def ssd300(batch: int = 1, size: int = 300, classes: int = 21) -> NetParameter:
    """Liu et al. 2016, on VGG-16 with fc6 dilated; detections (1, 1, found, 7)."""
    w = Writer("SSD-300", batch, size)
    conv4_3, top = vgg_stages(w, (2, 2, 3, 3))[-1]
    for i in (1, 2, 3):
        top = w.conv_relu(f"conv5_{i}", top, 512, 3, pad=1)
    top = w.conv_relu("fc6", w.pool("pool5", top, 3, pad=1), 1024, 3, pad=6, dilation=6, relu="relu6")
    top = w.conv_relu("fc7", top, 1024, 1, relu="relu7")
    normal = {"type": "constant", "value": 20}
    norm = {"across_spatial": False, "scale_filler": normal, "channel_shared": False}
    maps = [("conv4_3_norm", w.add("conv4_3_norm", "Normalize", conv4_3, norm_param=norm)), ("fc7", top)]
    for number, outputs, pad, stride in ((6, 512, 1, 2), (7, 256, 1, 2), (8, 256, 0, 1), (9, 256, 0, 1)):
        top = w.conv_relu(f"conv{number}_1", top, outputs // 2, 1)
        top = w.conv_relu(f"conv{number}_2", top, outputs, 3, pad=pad, stride=stride)
        maps.append((f"conv{number}_2", top))
    joined = [_heads(w, name, bottom, classes, boxes) for (name, bottom), boxes in zip(maps, BOXES, strict=True)]
    loc, conf, prior = zip(*joined, strict=True)
    locations = w.add("mbox_loc", "Concat", *loc, axis=1)
    scores = w.add("mbox_conf", "Concat", *conf, axis=1)
    priors = w.add("mbox_priorbox", "Concat", *prior, axis=2)
    scores = w.add("mbox_conf_reshape", "Reshape", scores, reshape_param={"shape": {"dim": [0, -1, classes]}})
    scores = w.add("mbox_conf_flatten", "Flatten", w.add("mbox_conf_softmax", "Softmax", scores, axis=2), axis=1)
    output = {
        "num_classes": classes,
        "share_location": True,
        "background_label_id": 0,
        "nms_param": {"nms_threshold": 0.45, "top_k": 400},
        "code_type": 2,
        "keep_top_k": 200,
        "confidence_threshold": 0.01,
    }
    w.add("detection_out", "DetectionOutput", locations, scores, priors, detection_output_param=output)
    return w.net()


def _heads(
    w: Writer, name: str, bottom: Top, classes: int, boxes: tuple[int, int, tuple[int, ...], int]
) -> tuple[Top, Top, Top]:
    """Locations and scores of a map's boxes, flat, and the boxes."""
    smallest, largest, ratios, step = boxes
    found = []
    for kind, each in (("loc", 4), ("conf", classes)):
        at = f"{name}_mbox_{kind}"
        top = w.conv(at, bottom, (2 + 2 * len(ratios)) * each, 3, pad=1)
        top = w.add(f"{at}_perm", "Permute", top, permute_param={"order": [0, 2, 3, 1]})
        found.append(w.add(f"{at}_flat", "Flatten", top, axis=1))
    prior = {
        "min_size": [smallest],
        "max_size": [largest],
        "aspect_ratio": list(ratios),
        "flip": True,
        "clip": False,
        "variance": [0.1, 0.1, 0.2, 0.2],
        "step": step,
        "offset": 0.5,
    }
    boxes_top = w.add(f"{name}_mbox_priorbox", "PriorBox", bottom, w.data, prior_box_param=prior)
    return found[0], found[1], boxes_top
