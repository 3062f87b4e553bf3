"""What published nets import for their Python layers, as far as shapes go: the modules themselves are their authors'.

with stand_ins.imported():
    net = caffepy.Net(...)          # `module: "rpn.proposal_layer"` and the like are found
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from unittest import mock

import caffepy as caffe
from caffepy.blob import Blob

Blobs = list[Blob]


class Same(caffe.Layer):
    """Tops of bottom 0's shape."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        for blob in top:
            blob.reshape(*bottom[0].shape)


class Loss(caffe.Layer):
    """One number."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        top[0].reshape(1)


class Boxes(caffe.Layer):
    """Lists of 50 boxes."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        for blob in top:
            blob.reshape(1, 50, 5)


class Proposal(caffe.Layer):
    """Regions (1, 5), and their scores."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        for blob, count in zip(top, (5, 1), strict=False):
            blob.reshape(1, count)


class AnchorTarget(caffe.Layer):
    """Scores (1, 2 anchors, h, w) -> labels (1, 1, anchors h, w); targets and two weights (1, 4 anchors, h, w)."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        anchors, height, width = bottom[0].channels // 2, bottom[0].height, bottom[0].width
        top[0].reshape(1, 1, anchors * height, width)
        for blob in top[1:]:
            blob.reshape(1, 4 * anchors, height, width)


class ProposalTarget(caffe.Layer):
    """Regions (1, 5, 1, 1), labels (1, 1, 1, 1), targets and two weights (1, 4 classes, 1, 1): as R-FCN has them."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        classes = int(self.param_str.split(":")[1])
        for blob, count in zip(top, (5, 1, *3 * [4 * classes]), strict=True):
            blob.reshape(1, count, 1, 1)


LAYERS = {
    "pyloss": {"EuclideanLossLayer": Loss},
    "spatial_dropout": {"SpatialDropoutLayer": Same},
    "rpn.proposal_layer": {"ProposalLayer": Proposal},
    "rpn.anchor_target_layer": {"AnchorTargetLayer": AnchorTarget},
    "rpn.proposal_target_layer": {"ProposalTargetLayer": ProposalTarget},
    "caffe.layers.detectnet.clustering": {"ClusterDetections": Boxes, "ClusterGroundtruth": Boxes},
    "caffe.layers.detectnet.mean_ap": {"ScoreDetections": Boxes, "mAP": Boxes},
}


@contextmanager
def imported() -> Iterator[None]:
    """As if these modules were on sys.path."""
    modules = {}
    for name, classes in LAYERS.items():
        modules[name] = ModuleType(name)
        vars(modules[name]).update(classes)
    with mock.patch.dict(sys.modules, modules):
        yield
