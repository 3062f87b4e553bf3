"""Linear regression under a loss layer written in Python, by gradient descent on net.params.

python python_loss.py out.prototxt
"""
# ruff: noqa: SIM115, UP031

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # where pyloss.py is
import caffe
import numpy as np

open(sys.argv[1], "w").write(
    """
name: "LinearRegressionExample"
layer { type: "Input" name: "x" top: "x" input_param { shape { dim: 16 dim: 3 } } }
layer { type: "Input" name: "y" top: "y" input_param { shape { dim: 16 dim: 2 } } }
layer { type: "InnerProduct" name: "ip" bottom: "x" top: "ip"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { type: "Python" name: "loss" bottom: "ip" bottom: "y" top: "loss"
        python_param { module: "pyloss" layer: "EuclideanLossLayer" param_str: "2" }
        loss_weight: 1 }
"""
)
net = caffe.Net(sys.argv[1], caffe.TRAIN)
rng = np.random.RandomState(0)
true_w, true_b = rng.randn(2, 3), rng.randn(2)
for it in range(200):
    x = rng.randn(16, 3)
    net.blobs["x"].data[...] = x
    net.blobs["y"].data[...] = x.dot(true_w.T) + true_b
    loss = net.forward()["loss"][0]
    for param in net.params["ip"]:
        param.diff[...] = 0
    net.backward()
    for param in net.params["ip"]:
        param.data[...] -= 0.1 * param.diff
    if it % 50 == 0 or it == 199:
        print("iteration %d, loss = %g" % (it, loss))
print("w off by %.1e" % np.abs(net.params["ip"][0].data - true_w).max())
