"""The filters of a layer and its activations as tiles of a picture.

python filters.py deploy.prototxt weights.caffemodel picture.png filters.png activations.png
"""
# ruff: noqa: RUF005, UP031

import sys

import caffe
import numpy as np
from PIL import Image

deploy, weights, image_file, filters_file, activations_file = sys.argv[1:]


def vis_square(data, file):
    """Take an array of shape (n, height, width) and lay the tiles out in a square, white between them."""
    data = (data - data.min()) / (data.max() - data.min())
    n = int(np.ceil(np.sqrt(data.shape[0])))
    padding = ((0, n**2 - data.shape[0]), (0, 1), (0, 1)) + ((0, 0),) * (data.ndim - 3)
    data = np.pad(data, padding, mode="constant", constant_values=1)
    data = data.reshape((n, n) + data.shape[1:]).transpose((0, 2, 1, 3) + tuple(range(4, data.ndim + 1)))
    data = data.reshape((n * data.shape[1], n * data.shape[3]) + data.shape[4:])
    Image.fromarray(np.uint8(255 * data)).save(file)
    print("%s: %d tiles of a side, %s" % (file, n, data.shape))


net = caffe.Net(deploy, weights, caffe.TEST)
net.blobs["data"].data[0] = caffe.io.load_image(image_file, color=False).transpose(2, 0, 1)
net.forward()

filters = net.params["conv1"][0].data
vis_square(filters.transpose(0, 2, 3, 1).squeeze(), filters_file)
feat = net.blobs["conv1"].data[0, :16]
vis_square(feat, activations_file)
