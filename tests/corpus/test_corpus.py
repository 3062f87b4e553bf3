"""Every net of the corpus builds: shapes inferred, all blobs there, at batch 1.

Layers that read files become inputs of the shape they declare by `crop_size`, or that is stated here because the files
had it.
"""

import csv
import re
from pathlib import Path

import pytest

import caffepy
from caffepy import graph
from caffepy.errors import CaffeError
from caffepy.filler import Filler
from caffepy.net.weights import read_definition
from caffepy.proto.caffe_pb2 import TEST, TRAIN, LayerParameter, NetParameter, NetState
from tests.corpus import stand_ins
from tests.shared import SHARED, shared

FOLDER = "prototxt"
SEGMENTED = {"data": (1, 3, 360, 480), "label": (1, 1, 360, 480)}
STATED = {
    "hdf5_classification": {"data": (1, 4)},
    "mnist_siamese_train_test.": {"pair_data": (1, 2, 28, 28)},
    "mnist_siamese_train_test_concate": {
        "pair_data1": (50, 1, 112, 112),
        "pair_data2": (50, 1, 112, 112),
        "label1": (50,),
        "label2": (50,),
    },
    "_lenet_": {"data": (1, 1, 28, 28)},
    "cifar10": {"data": (1, 3, 32, 32)},
    "SegNet": SEGMENTED,
    "_enet_train": {"data": (1, 3, 512, 1024), "label": (1, 1, 512, 1024)},
    "_enet_train_encoder.": {"data": (1, 3, 512, 1024), "label": (1, 1, 64, 128)},
    "fcn.berkeleyvision": {"data": (1, 3, 500, 500), "label": (1, 1, 500, 500)},
    "kitti_detectnet": {"data": (1, 3, 352, 1248)},
    "SSD_300x300": {"data": (1, 3, 300, 300), "label": (1, 1, 1, 8)},
    "resnet50_ssd": {"data": (1, 3, 300, 300), "label": (1, 1, 1, 8)},
    "yolov3": {"data": (1, 3, 416, 416), "label": (1, 250)},
    "cityscapes_mobilenet_yolov3": {"data": (1, 3, 512, 1024), "label": (1, 250), "seg_label": (1, 19, 64, 128)},
    "tusimple": {"data": (1, 3, 512, 512), "label": (1, 250), "seg_label": (1, 1, 128, 128)},
    "SqueezeDet_train": {"data": (1, 3, 416, 416), "bbox": (1, 40)},
    "3dnormal": {"label_3dup": (1, 2500)},
    "DeconvNet": {"seg-label": (1, 1, 224, 224)},
}
"""By a part of the file's name, the longest that fits: the shapes of tops."""
BATCH = {"dcgan_generator": 64, "mnist_siamese_train_test_concate": 50}
"""Nets that work with one batch size only: a Reshape or a Slice names it."""
USUAL = {"label": (1,), "im_info": (1, 3), "gt_boxes": (1, 5)}

NOT_BUILT = {
    "MobileNetSSD_deploy_template": "couldn't parse integer: cls3x",  # a script puts numbers in
    "caffemodel-inception-v3_deploy": r"couldn't parse integer: \$",  # likewise
    "caffemodel-vgg19_deploy": r"couldn't parse integer: \$",  # likewise
    "netscope__presets_vgg-16": "has both `layer` .* and `layers`",  # Caffe refuses that, too
    "netscope__presets_fasterRCNN_VGG": "unknown layer type 'implicit'",  # for a drawing, no layer of any Caffe
    "v1hist__BVLC+caffe__examples_cifar10_cifar10_full.": "PoolingParameter has no field 'norm_region'",  # nor in Caffe
    "CASIA_train_test_attribute": "Reshape.*cannot run in place",  # Caffe refuses that, too
}
"""By a part of the file's name, the error that says why it is not built."""

READS_FILES = re.compile(r"\w*Data$")


def nets() -> list[str]:
    """The corpus' nets; none where it is absent."""
    manifest = SHARED / FOLDER / "MANIFEST.tsv"
    if not manifest.exists():
        return []
    with manifest.open() as file:
        return [row["file"] for row in csv.DictReader(file, delimiter="\t") if row["kind"] == "net"]


@pytest.fixture(autouse=True)
def _without_fillers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Filler, "fill", lambda self, values: None)


@pytest.mark.parametrize("file", nets())
def test_it_builds(file: str) -> None:
    path = shared(f"{FOLDER}/{file}")
    for part, reason in NOT_BUILT.items():
        if part in file:
            with pytest.raises(CaffeError, match=reason):
                build(path)
            return
    net = build(path)
    assert all(blob.data.shape == blob.shape for blob in net.blobs.values())


def build(path: Path) -> caffepy.Net:
    """The net in the phase that it is for: TEST, if it has all that it needs then."""
    definition = read_definition(path)
    phase = next((phase for phase in (TEST, TRAIN) if whole(definition, phase)), TEST)
    param = graph.filter_net(definition, NetState(phase=phase))
    for layer in param.layer:
        del layer.include[:], layer.exclude[:]
        replace_data(layer, path.name)
    with stand_ins.imported():
        return caffepy.Net(param, phase)


def whole(definition: NetParameter, phase: int) -> bool:
    """Whether every bottom has a source in that phase."""
    made: set[str] = set()
    for layer in graph.filter_net(definition, NetState(phase=phase)).layer:
        if not made.issuperset(layer.bottom):
            return False
        made.update(layer.top)
    return bool(made)


def stated_shapes(file: str) -> dict[str, tuple[int, ...]]:
    """What STATED says of a file."""
    return STATED.get(max((part for part in STATED if part in file), key=len, default=""), {})


def replace_data(layer: LayerParameter, file: str) -> None:
    """Make an input of a layer that reads files; give inputs batch 1."""
    reads = READS_FILES.match(layer.type) and layer.type not in ("DummyData", "MemoryData")
    if reads or (layer.type == "Python" and not layer.bottom):
        stated = stated_shapes(file)
        side = layer.transform_param.crop_size or 224
        layer.type = "Input"
        for j, top in enumerate(layer.top):
            usual = (1, 3, side, side) if j == 0 else USUAL.get(top, (1,))
            layer.input_param.shape.add(dim=stated.get(top, usual))
    for shape in layer.input_param.shape:
        if len(shape.dim) > 1:
            shape.dim[0] = next((batch for part, batch in BATCH.items() if part in file), 1)


def test_few_are_left_out() -> None:
    assert len(NOT_BUILT) <= 8


def test_the_corpus_is_there() -> None:
    assert len([shared(f"{FOLDER}/{file}") for file in nets()] or [shared(FOLDER)]) == 144
