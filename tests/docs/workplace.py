"""The files that the guides speak of, as small stand-ins: a model, a picture, names of classes, a database."""

import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

import caffepy
from caffepy.data import DatabaseWriter

SIDE, CLASSES = 64, 1000
NORMAL = 'weight_filler { type: "gaussian" std: 0.1 }'
BODY = f"""
layer {{ name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param {{ num_output: 6 kernel_size: 7
        stride: 4 {NORMAL} }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }}
layer {{ name: "conv5" type: "Convolution" bottom: "conv1" top: "conv5"
        convolution_param {{ num_output: 5 kernel_size: 3 stride: 2 {NORMAL} }} }}
layer {{ name: "relu5" type: "ReLU" bottom: "conv5" top: "conv5" }}
layer {{ name: "inception_4c/output" type: "Pooling" bottom: "conv5" top: "inception_4c/output"
        pooling_param {{ kernel_size: 2 stride: 2 }} }}
layer {{ name: "pool5" type: "Pooling" bottom: "inception_4c/output" top: "pool5"
        pooling_param {{ pool: AVE global_pooling: true }} }}
layer {{ name: "fc7" type: "InnerProduct" bottom: "pool5" top: "fc7"
        inner_product_param {{ num_output: 8 {NORMAL} }} }}
layer {{ name: "fc8" type: "InnerProduct" bottom: "fc7" top: "fc8"
        inner_product_param {{ num_output: {CLASSES} {NORMAL} }} }}
"""
DEPLOY = f"""
name: "StandIn"
force_backward: true
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: {SIDE} dim: {SIDE} }} }} }}
{BODY}
layer {{ name: "prob" type: "Softmax" bottom: "fc8" top: "prob" }}
"""
TRAIN = f"""
layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: TRAIN }}
        data_param {{ source: "train_lmdb" batch_size: 2 backend: LMDB }} }}
layer {{ name: "data" type: "Data" top: "data" top: "label" include {{ phase: TEST }}
        data_param {{ source: "test_lmdb" batch_size: 2 backend: LMDB }} }}
{BODY}
layer {{ name: "accuracy" type: "Accuracy" bottom: "fc8" bottom: "label" top: "accuracy" include {{ phase: TEST }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc8" bottom: "label" top: "loss" }}
"""
SSD = f"""
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: 3 dim: {SIDE} dim: {SIDE} }} }} }}
{BODY}
layer {{ name: "loc" type: "InnerProduct" bottom: "fc7" top: "loc" inner_product_param {{ num_output: 4 {NORMAL} }} }}
layer {{ name: "conf" type: "InnerProduct" bottom: "fc7" top: "conf" inner_product_param {{ num_output: 2 {NORMAL} }} }}
layer {{ name: "score" type: "Softmax" bottom: "conf" top: "score" }}
layer {{ name: "prior" type: "PriorBox" bottom: "pool5" bottom: "data" top: "prior"
        prior_box_param {{ min_size: 20 variance: 0.1 }} }}
layer {{ name: "boxes" type: "DetectionOutput" bottom: "loc" bottom: "score" bottom: "prior" top: "boxes"
        detection_output_param {{ num_classes: 2 code_type: CENTER_SIZE keep_top_k: 10 }} }}
"""
FUNCTION = """
def colours(net, data):
    return {"mean": data.mean(axis=(2, 3))}
"""
FEATURES = f"""
layer {{ name: "data" type: "Data" top: "data" data_param {{ source: "train_lmdb" batch_size: 2 backend: LMDB }} }}
{BODY}
layer {{ name: "prob" type: "Softmax" bottom: "fc8" top: "prob" }}
"""
SOLVER = """
net: "train_val.prototxt" base_lr: 1e-4 lr_policy: "fixed" max_iter: 1000 snapshot_prefix: "garments"
test_iter: 1 test_interval: 1000
"""


def furnish(folder: Path, databases: Iterable[str]) -> None:
    """Write them all, and of the databases these: others the guide itself makes."""
    (folder / "deploy.prototxt").write_text(DEPLOY)
    (folder / "train_val.prototxt").write_text(TRAIN)
    (folder / "net.prototxt").write_text(FEATURES)
    (folder / "solver.prototxt").write_text(SOLVER)
    (folder / "ssd.prototxt").write_text(SSD)
    (folder / "mine.py").write_text(FUNCTION)
    caffepy.set_random_seed(5)
    for model, files in (("deploy", ("net.caffemodel", "pretrained.caffemodel")), ("ssd", ("ssd.caffemodel",))):
        with caffepy.Net(str(folder / f"{model}.prototxt"), caffepy.TEST) as net:
            for name in files:
                net.save(str(folder / name))
    names = [f"n{i:08d} thing {i}" for i in range(CLASSES)]
    names[1], names[281] = "n01443537 goldfish", "n02123045 tabby, tabby cat"
    (folder / "synset_words.txt").write_text("\n".join(names))
    for name in ("pictures", "photos"):
        (folder / name).mkdir()
    rng = np.random.default_rng(0)
    for name in ("cat.jpg", "pictures/one.png", "pictures/two.png", "photos/one.png", "photos/two.png"):
        Image.fromarray(rng.integers(0, 255, (70, 90, 3), np.uint8)).save(folder / name)
    with tarfile.open(folder / "street-0.tar", "w") as archive:
        archive.add(folder / "photos/one.png", "one.png")
    for name in ("train.txt", "test.txt"):
        (folder / name).write_text("one.png 0\ntwo.png 1\n")
    for name in databases:
        with DatabaseWriter(str(folder / name), "LMDB") as database:
            for i in range(4):
                datum = caffepy.io.array_to_datum(rng.integers(0, 255, (3, SIDE, SIDE), np.uint8), i)
                database.put(f"{i:08}".encode(), datum.SerializeToString())
