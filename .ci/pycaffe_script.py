"""A saliency map by a script written for pycaffe, from an installed package: pycaffe_script.py FOLDER_OF_CAFFEPY."""

import sys
import tempfile
from pathlib import Path

import caffe
import numpy as np
from caffe.proto import caffe_pb2

NET = """
name: "small"
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 8 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" }
layer { name: "fc8" type: "InnerProduct" bottom: "norm1" top: "fc8"
        inner_product_param { num_output: 1000 weight_filler { type: "gaussian" std: 0.1 } } }
"""

assert Path(sys.argv[1]).resolve() in Path(caffe.__file__).resolve().parents, caffe.__file__
assert Path(caffe.__file__).parent.name == "caffe"

with tempfile.TemporaryDirectory() as folder:
    deploy, weights = f"{folder}/deploy.prototxt", f"{folder}/net.caffemodel"
    Path(deploy).write_text(NET)
    caffe.set_mode_cpu()
    caffe.set_random_seed(1)
    caffe.Net(deploy, caffe.TEST).save(weights)
    stored = caffe_pb2.NetParameter.FromString(Path(weights).read_bytes())
    assert "conv1" in [layer.name for layer in stored.layer]

    net = caffe.Net(deploy, weights, caffe.TEST)

transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
transformer.set_transpose("data", (2, 0, 1))
picture = np.random.RandomState(0).rand(40, 50, 3)
image = transformer.preprocess("data", picture)[np.newaxis]

net.forward(data=image)
diff = np.zeros((1, 1000, 1, 1))
diff[0, 281, 0, 0] = 1
back = net.backward(**{net.outputs[0]: diff})
saliency = np.abs(back["data"][0]).max(axis=0)


def score(pixels: np.ndarray) -> float:
    return float(net.forward(data=pixels)["fc8"][0, 281])


towards = back["data"].copy()
step = 1e-3 / np.abs(towards).max()
slope = (score(image + step * towards) - score(image - step * towards)) / (2 * step)
assert saliency.shape == (32, 32)
assert np.isclose(slope, (towards**2).sum(), rtol=2e-2), (slope, (towards**2).sum())
print(f"{caffe.__file__}: slope {slope:.5f}, squared gradient {(towards**2).sum():.5f}")
