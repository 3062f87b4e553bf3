"""Grad-CAM of a class at a layer, and guided backpropagation layer by layer, by pycaffe's backward alone.

python grad_cam.py deploy.prototxt weights.caffemodel picture.png layer out.npz
"""
# ruff: noqa: UP032

import sys

import caffe
import numpy as np

deploy, weights, image_file, layer, out = sys.argv[1:]

caffe.set_mode_cpu()
net = caffe.Net(deploy, weights, caffe.TEST)
transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
transformer.set_transpose("data", (2, 0, 1))
net.blobs["data"].reshape(1, *net.blobs["data"].data.shape[1:])
net.blobs["data"].data[...] = transformer.preprocess("data", caffe.io.load_image(image_file, color=False))
final = net.outputs[0]
index = net.forward()[final].argmax()

label = np.zeros(net.blobs[final].shape)
label[0, index] = 1
diffs = net.backward(diffs=["data", layer], **{final: label})
weights_of = np.mean(np.squeeze(diffs[layer]), axis=(1, 2))
activations = np.squeeze(net.blobs[layer].data)
cam = np.zeros(activations.shape[1:], dtype=np.float32)
for i in range(activations.shape[0]):
    cam += activations[i, :, :] * weights_of[i]
cam = np.maximum(cam, 0)

# what a rectifier in place hands down is cut off between two calls of backward
names = list(net.layer_dict)
net.blobs[final].diff[...] = label
start = names[-1]
for rectifier in reversed([name for name in names if "relu" in name]):
    blob = net.top_names[rectifier][0]
    net.backward(start=start, end=names[names.index(rectifier) + 1])
    net.blobs[blob].diff[...] = np.maximum(net.blobs[blob].diff, 0)
    start = rectifier
guided = net.backward(start=start)["data"]

np.savez(out, cam=cam, guided=guided)
print("class {}, {} {}".format(index, layer, cam.shape))
