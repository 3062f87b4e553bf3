"""Contrastive excitation backpropagation as on the branch of its authors: modes, and the top layer's weights turned.

python excitation.py deploy.prototxt weights.caffemodel picture.png top second output out.npz
"""
# ruff: noqa: UP032

import sys

import caffe
import numpy as np

deploy, weights, image_file, top, second, output, out = sys.argv[1:]

caffe.set_mode_cpu()
net = caffe.Net(deploy, weights, caffe.TEST)
img = caffe.io.load_image(image_file, color=False)
net.blobs["data"].reshape(1, 1, *img.shape[:2])
transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
transformer.set_transpose("data", (2, 0, 1))
net.blobs["data"].data[...] = transformer.preprocess("data", img)
net.forward(end=top)
tag = net.blobs[top].data[0].argmax()

caffe.set_mode_eb_cpu()
net.blobs[top].diff[0][...] = 0
net.blobs[top].diff[0][tag] = np.exp(net.blobs[top].data[0][tag].copy())
net.blobs[top].diff[0][tag] /= net.blobs[top].diff[0][tag].sum()
net.params[top][0].data[...] *= -1
net.backward(start=top, end=second)
against = net.blobs[second].diff.copy()
net.params[top][0].data[...] *= -1
net.backward(start=top, end=second)
plain = net.blobs[second].diff.copy()
net.blobs[second].diff[...] -= against
net.backward(start=second, end=output)
contrastive = net.blobs[output].diff[0].copy()
net.blobs[second].diff[...] = plain
net.backward(start=second, end=output)
winner = net.blobs[output].diff[0].copy()

caffe.set_mode_dc_cpu()
net.blobs[top].diff[0][...] = 0
net.blobs[top].diff[0][tag] = 1
net.backward(start=top)
np.savez(out, contrastive=contrastive, winner=winner, deconv=net.blobs["data"].diff[0].copy())
print("tag {}, map {}".format(tag, np.maximum(contrastive.sum(0), 0).shape))
