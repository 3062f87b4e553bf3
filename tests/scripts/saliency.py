"""Saliency of a class by one backward pass (Simonyan et al. 2013), with the diff given in four axes as in old Caffe.

python saliency.py deploy.prototxt weights.caffemodel picture.png label out.npy
"""
# ruff: noqa: UP031

import sys

import caffe
import numpy as np

deploy, weights, image_file, label, out = sys.argv[1:]

caffe.set_mode_cpu()
net = caffe.Net(deploy, weights, caffe.TEST)
img = caffe.io.load_image(image_file, color=False)
transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
transformer.set_transpose("data", (2, 0, 1))

out_layer = net.outputs[0]
pred = net.forward(data=np.asarray([transformer.preprocess("data", img)]))
print("class %d, %s %.3f" % (pred[out_layer][0].argmax(), out_layer, pred[out_layer][0].max()))

caffeLabel = np.zeros((1, net.blobs[out_layer].channels, 1, 1))
caffeLabel[0, int(label), 0, 0] = 1

bw = net.backward(**{out_layer: caffeLabel})
diff = bw["data"]
saliency = np.amax(np.abs(diff), axis=1)[0]

saliency -= saliency.min()
saliency /= saliency.max()
np.save(out, saliency)
print("saliency %s, brightest at %s" % (saliency.shape, np.unravel_index(saliency.argmax(), saliency.shape)))
