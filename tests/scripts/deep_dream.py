"""Deep dream: gradient ascent on a layer's activations, octave by octave.

python deep_dream.py deploy.prototxt weights.caffemodel picture.png layer out.npy
"""
# ruff: noqa: NPY002, SIM115, UP031

import sys

import caffe
import numpy as np
from google.protobuf import text_format

net_fn, param_fn, image_file, end, out = sys.argv[1:]

# Patching the model to be able to compute gradients.
model = caffe.io.caffe_pb2.NetParameter()
text_format.Merge(open(net_fn).read(), model)
model.force_backward = True
open(out + ".prototxt", "w").write(str(model))

net = caffe.Classifier(
    out + ".prototxt",
    param_fn,
    mean=np.float32([104.0, 116.0, 122.0]),
    raw_scale=255,
    channel_swap=(2, 1, 0),
)


def preprocess(net, img):
    return np.float32(np.rollaxis(img, 2)[::-1]) - net.transformer.mean["data"]


def deprocess(net, img):
    return np.dstack((img + net.transformer.mean["data"])[::-1])


def objective_L2(dst):
    dst.diff[:] = dst.data


def zoom(image, shape):
    """Nearest pixels, in place of scipy.ndimage.zoom."""
    rows = np.arange(shape[0]) * image.shape[-2] // shape[0]
    columns = np.arange(shape[1]) * image.shape[-1] // shape[1]
    return image[..., rows, :][..., columns]


def make_step(net, step_size=1.5, end="conv2", jitter=4, clip=True, objective=objective_L2):
    """Basic gradient ascent step."""
    src = net.blobs["data"]  # input image is stored in Net's 'data' blob
    dst = net.blobs[end]

    ox, oy = np.random.randint(-jitter, jitter + 1, 2)
    src.data[0] = np.roll(np.roll(src.data[0], ox, -1), oy, -2)  # apply jitter shift

    net.forward(end=end)
    objective(dst)  # specify the optimization objective
    net.backward(start=end)
    g = src.diff[0]
    src.data[:] += step_size / np.abs(g).mean() * g

    src.data[0] = np.roll(np.roll(src.data[0], -ox, -1), -oy, -2)  # unshift image
    if clip:
        bias = net.transformer.mean["data"]
        src.data[:] = np.clip(src.data, -bias, 255 - bias)


def deepdream(net, base_img, iter_n=5, octave_n=3, octave_scale=1.4, end="conv2", **step_params):
    octaves = [preprocess(net, base_img)]
    for _ in range(octave_n - 1):
        octaves.append(zoom(octaves[-1], [int(n / octave_scale) for n in octaves[-1].shape[-2:]]))

    src = net.blobs["data"]
    detail = np.zeros_like(octaves[-1])  # allocate image for network-produced details
    for octave, octave_base in enumerate(octaves[::-1]):
        h, w = octave_base.shape[-2:]
        if octave > 0:
            detail = zoom(detail, (h, w))

        src.reshape(1, 3, h, w)  # resize the network's input image size
        src.data[0] = octave_base + detail
        for i in range(iter_n):
            make_step(net, end=end, **step_params)
            print(octave, i, end, net.blobs[end].data.shape, "%.3f" % np.linalg.norm(net.blobs[end].data))
        detail = src.data[0] - octave_base  # extract details produced on the current octave
    return deprocess(net, src.data[0])


np.random.seed(0)
img = np.float32(caffe.io.load_image(image_file) * 255)
np.save(out, deepdream(net, img, end=end))
