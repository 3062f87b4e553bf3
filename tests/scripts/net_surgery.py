"""Net surgery: inner products cast into convolutions, so that the net runs on pictures of any size.

python net_surgery.py deploy.prototxt full_conv.prototxt weights.caffemodel picture.png out.caffemodel
"""
# ruff: noqa: B905, E501, UP031

import sys

import caffe
import numpy as np

deploy, full_conv, weights, image_file, out = sys.argv[1:]

net = caffe.Net(deploy, weights, caffe.TEST)
params = ["fc4", "fc5"]
fc_params = {pr: (net.params[pr][0].data, net.params[pr][1].data) for pr in params}
for fc in params:
    print(f"{fc} weights are {fc_params[fc][0].shape} dimensional and biases are {fc_params[fc][1].shape} dimensional")

net_full_conv = caffe.Net(full_conv, weights, caffe.TEST)
params_full_conv = ["fc4-conv", "fc5-conv"]
conv_params = {pr: (net_full_conv.params[pr][0].data, net_full_conv.params[pr][1].data) for pr in params_full_conv}
for conv in params_full_conv:
    print(
        f"{conv} weights are {conv_params[conv][0].shape} dimensional and biases are {conv_params[conv][1].shape} dimensional"
    )

for pr, pr_conv in zip(params, params_full_conv):
    conv_params[pr_conv][0].flat = fc_params[pr][0].flat  # flat unrolls the arrays
    conv_params[pr_conv][1][...] = fc_params[pr][1]
net_full_conv.save(out)

im = caffe.io.load_image(image_file, color=False).transpose(2, 0, 1)
net.blobs["data"].data[...] = im
prob = net.forward()["prob"]
out_conv = net_full_conv.forward_all(data=np.asarray([im]))
print("same: %s" % np.allclose(out_conv["prob"].squeeze(), prob.squeeze(), atol=1e-6))

# a larger picture gives a map of classes
tiled = np.tile(im, (1, 2, 2))
net_full_conv.blobs["data"].reshape(1, *tiled.shape)
net_full_conv.blobs["data"].data[...] = tiled
heat = net_full_conv.forward()["prob"][0]
print(f"map: {heat.shape}, corner class {heat[:, 0, 0].argmax()}")
