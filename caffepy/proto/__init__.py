"""Caffe's formats: messages, prototxt, weights files, and old nets made current."""
