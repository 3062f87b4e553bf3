"""Layer-wise relevance propagation as on the branch of the LRP toolbox: net.lrp and caffe.RelPropOpts.

python relevance.py deploy.prototxt weights.caffemodel picture.png out.npz
"""
# ruff: noqa: UP032

import sys

import caffe
import numpy as np

deploy, weights, image_file, out = sys.argv[1:]
net = caffe.Net(deploy, weights, caffe.TEST)
image = caffe.io.load_image(image_file, color=False)
net.blobs["data"].reshape(1, 1, 28, 28)
net.blobs["data"].data[...] = image.transpose(2, 0, 1)[None, :]
top_class = np.argmax(net.forward()["prob"])


def options(kind, epsilon=1e-6, beta=1.0, switch=-1):
    opts = caffe.RelPropOpts()
    opts.relpropformulatype = kind
    opts.epsstab = epsilon
    opts.alphabeta_beta = beta
    opts.auxiliaryvariable_maxlayerindexforflatdistinconv = switch
    opts.numclasses = 10
    opts.lastlayerindex = -2
    opts.firstlayerindex = 0
    opts.codeexectype = 0
    opts.lrn_forward_type = 0
    opts.lrn_backward_type = 1
    opts.maxpoolingtoavgpoolinginbackwardpass = 0
    opts.biastreatmenttype = 0
    return opts


heatmaps = {
    "epsilon": net.lrp(top_class, options(0)),
    "alphabeta": net.lrp(top_class, options(2)),
    "layer_dep": net.lrp(top_class, options(100)),
    "ab_n_flat": net.lrp(top_class, options(102, switch=0)),
    "gradient": net.lrp(top_class, options(11)),
}
np.savez(out, **heatmaps)
for name, raw in heatmaps.items():
    heatmap = raw[0].transpose(1, 2, 0).mean(2)
    print("{} {} {:.4f}".format(name, heatmap.shape, raw.sum()))
print("score {:.4f}".format(net.blobs["fc5"].data[0, top_class]))
