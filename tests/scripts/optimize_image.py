"""An image that one unit likes, as the deep-visualization toolbox makes it: forward_all, backward_from_layer.

python optimize_image.py deploy.prototxt weights.caffemodel mean.npy layer channel row,column out.npy
"""
# ruff: noqa: NPY002, UP032

import sys

import caffe
import numpy as np

deploy, weights, mean_file, push_layer, channel, spatial, out = sys.argv[1:]
data_mean = np.load(mean_file)
net = caffe.Classifier(deploy, weights, mean=data_mean, raw_scale=1.0)
push_unit = (int(channel), *map(int, spatial.split(",")))

np.random.seed(0)
xx = np.random.normal(0, 0.1, data_mean.shape)[np.newaxis, :]
is_conv = len(net.blobs[push_layer].data.shape) == 4
for ii in range(20):
    xx = np.minimum(1.0, np.maximum(0.0, xx + data_mean)) - data_mean
    net.forward_all(data=xx)
    acts = net.blobs[push_layer].data[0]
    if not is_conv:
        acts = acts[:, np.newaxis, np.newaxis]
    obj = acts[push_unit]
    diffs = net.blobs[push_layer].diff * 0
    if not is_conv:
        diffs = diffs[:, :, np.newaxis, np.newaxis]
    diffs[0][push_unit] = 1.0
    backout = net.backward_from_layer(push_layer, diffs if is_conv else diffs[:, :, 0, 0])
    grad = backout["data"].copy()
    print("{} {:.6f} {:.6f}".format(ii, obj, np.linalg.norm(grad)))
    if ii == 0:
        np.savez(out, start=xx, grad=grad)
    xx += 0.5 / np.linalg.norm(grad) ** 2 * grad
    xx *= 1 - 0.001
