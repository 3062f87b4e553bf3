"""Trained nets of forks' layers, against what OpenCV's importer of Caffe nets computes."""

import numpy as np
import pytest

import caffepy
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import TEST, NetParameter
from tests.shared import shared


def run(model, golden):
    """The net after a forward pass, without its last, DetectionOutput layers, and OpenCV's arrays."""
    expected = np.load(shared(f"golden/nets/{golden}.npz"))
    param = prototxt.read(shared(f"models/{model}.prototxt"), NetParameter)
    detections = [layer for layer in param.layer if layer.type == "DetectionOutput"]
    for layer in detections:
        param.layer.remove(layer)
    name = {"res10-ssd-face/deploy": "res10-ssd-face/res10_300x300_ssd_iter_140000"}.get(model, model)
    net = caffepy.Net(param, str(shared(f"models/{name}.caffemodel")), TEST)
    net.blobs[net.inputs[0]].reshape(*expected["x"].shape)
    net.forward(**{net.inputs[0]: expected["x"]})
    return net, detections, {name[len("out/") :]: expected[name] for name in expected.files if name != "x"}


@pytest.mark.parametrize(
    ("model", "golden"), [("ultraface-rfb320/RFB-320", "opencv_ultraface"), ("wechat-qr/sr", "opencv_wechat_sr")]
)
def test_outputs(model, golden):
    net, _, expected = run(model, golden)
    for name, array in expected.items():
        np.testing.assert_allclose(net.blobs[name].data.reshape(array.shape), array, 1e-4, 1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("model", "golden"),
    [("res10-ssd-face/deploy", "opencv_res10_face_astronaut"), ("wechat-qr/detect", "opencv_wechat_detect")],
)
def test_the_best_box(model, golden):
    """Permute, Normalize and PriorBox: the most confident box, decoded here, is OpenCV's first detection."""
    net, (detection,), expected = run(model, golden)
    loc, conf, priors = (net.blobs[name].data for name in detection.bottom[:3])
    best = conf.reshape(-1, detection.detection_output_param.num_classes)[:, 1].argmax()
    (xmin, ymin, xmax, ymax), variance = priors.reshape(2, -1, 4)[:, best]
    size = np.array([xmax - xmin, ymax - ymin])
    delta = loc.reshape(-1, 4)[best] * variance
    centre = np.array([xmin + xmax, ymin + ymax]) / 2 + delta[:2] * size
    half = np.exp(delta[2:]) * size / 2
    (found,) = expected.values()
    first = found.reshape(-1, 7)[0]
    np.testing.assert_allclose([*(centre - half), *(centre + half)], first[3:], 1e-4, 1e-4)
