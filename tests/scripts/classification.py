"""Classify pictures with Transformer and oversampling, as tutorials for pycaffe do.

python classification.py deploy.prototxt weights.caffemodel labels.txt picture.png ...
"""
# ruff: noqa: B905, UP031

import sys

import caffe
import numpy as np

model_def, model_weights, labels_file, *image_files = sys.argv[1:]

caffe.set_mode_cpu()
net = caffe.Net(model_def, model_weights, caffe.TEST)
labels = np.loadtxt(labels_file, str, delimiter="\t")

transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
transformer.set_transpose("data", (2, 0, 1))
transformer.set_mean("data", np.array([0.0]))
transformer.set_raw_scale("data", 1.0)

for image_file in image_files:
    image = caffe.io.load_image(image_file, color=False)

    # one centre crop
    net.blobs["data"].reshape(1, 1, 28, 28)
    net.blobs["data"].data[...] = transformer.preprocess("data", image)
    output = net.forward()
    output_prob = output["prob"][0].copy()

    # ten crops of a larger picture
    oversampled = caffe.io.oversample([caffe.io.resize_image(image, (30, 30))], (28, 28))
    crops = np.array([transformer.preprocess("data", crop) for crop in oversampled])
    net.blobs["data"].reshape(*crops.shape)
    average_prob = net.forward_all(data=crops)["prob"].mean(0)

    top_inds = output_prob.argsort()[::-1][:5]
    print("%s: %s" % (image_file, labels[output_prob.argmax()]))
    print("  oversampled: %s %.3f" % (labels[average_prob.argmax()], average_prob.max()))
    for prob, label in zip(output_prob[top_inds], labels[top_inds]):
        print("  %.4f %s" % (prob, label))

classifier = caffe.Classifier(model_def, model_weights, image_dims=(30, 30), raw_scale=1.0)
predictions = classifier.predict([caffe.io.load_image(f, color=False) for f in image_files])
print("classifier: " + ", ".join(labels[i] for i in predictions.argmax(1)))
