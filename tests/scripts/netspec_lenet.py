"""LeNet written with NetSpec, built, and trained for some steps on noise.

python netspec_lenet.py lenet.prototxt
"""
# ruff: noqa: C408, UP031

import sys

import caffe
import numpy as np
from caffe import layers as L
from caffe import params as P


def lenet(batch_size):
    n = caffe.NetSpec()
    n.data, n.label = L.DummyData(
        shape=[dict(dim=[batch_size, 1, 28, 28]), dict(dim=[batch_size])],
        data_filler=[dict(type="gaussian", std=1), dict(type="constant", value=3)],
        ntop=2,
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, weight_filler=dict(type="xavier"))
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 = L.InnerProduct(n.pool2, num_output=500, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n.to_proto()


with open(sys.argv[1], "w") as f:
    f.write(str(lenet(8)))

net = caffe.Net(sys.argv[1], caffe.TRAIN)
print([(k, v.data.shape) for k, v in net.blobs.items()])
losses = []
for _ in range(8):
    losses.append(float(net.forward()["loss"]))
    net.backward()
    for name in net.params:
        for param in net.params[name]:
            param.data[...] -= 0.01 * param.diff
            param.diff[...] = 0
print("loss %.3f -> %.3f" % (losses[0], losses[-1]))
print("falls: %s" % (np.mean(losses[-2:]) < 0.5 * np.mean(losses[:2])))
