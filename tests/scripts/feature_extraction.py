"""Features of many pictures with forward_all, and their nearest neighbours.

python feature_extraction.py deploy.prototxt weights.caffemodel out.npy picture.png ...
"""
# ruff: noqa: SIM112, UP031

import os
import sys

os.environ["GLOG_minloglevel"] = "2"  # before caffe is imported
import caffe
import numpy as np

deploy, weights, out, *image_files = sys.argv[1:]
BATCH = 4

net = caffe.Net(deploy, caffe.TEST, weights=weights)
net.blobs["data"].reshape(BATCH, *net.blobs["data"].data.shape[1:])
net.reshape()

for layer_name, blob in net.blobs.items():
    print(layer_name + "\t" + str(blob.data.shape))
for layer_name, param in net.params.items():
    print(layer_name + "\t" + str(param[0].data.shape), str(param[1].data.shape))

images = np.asarray([caffe.io.load_image(f, color=False).transpose((2, 0, 1)) for f in image_files])
outputs = net.forward_all(blobs=["fc4", "pool3"], data=images)
features = outputs["fc4"]
np.save(out, features)

normalized = features / np.linalg.norm(features, axis=1, keepdims=True)
similarity = normalized.dot(normalized.T)
np.fill_diagonal(similarity, -1)
print("features %s pool3 %s prob %s" % (features.shape, outputs["pool3"].shape, outputs["prob"].shape))
for i, j in enumerate(similarity.argmax(1)):
    print("%s ~ %s" % (os.path.basename(image_files[i]), os.path.basename(image_files[j])))
