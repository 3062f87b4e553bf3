"""OpenCV 4's cv2.dnn for Caffe models, which OpenCV 5 no longer reads: `from caffepy import dnn`, the rest stays."""

from caffepy.dnn.blobs import CV_8U, CV_32F, NMSBoxes, blobFromImage, blobFromImages, imagesFromBlob
from caffepy.dnn.net import (
    DNN_BACKEND_CUDA,
    DNN_BACKEND_DEFAULT,
    DNN_BACKEND_OPENCV,
    DNN_TARGET_CPU,
    DNN_TARGET_CUDA,
    DNN_TARGET_CUDA_FP16,
    Layer,
    Net,
    readNet,
    readNetFromCaffe,
)

__all__ = [
    "CV_8U",
    "CV_32F",
    "DNN_BACKEND_CUDA",
    "DNN_BACKEND_DEFAULT",
    "DNN_BACKEND_OPENCV",
    "DNN_TARGET_CPU",
    "DNN_TARGET_CUDA",
    "DNN_TARGET_CUDA_FP16",
    "Layer",
    "NMSBoxes",
    "Net",
    "blobFromImage",
    "blobFromImages",
    "imagesFromBlob",
    "readNet",
    "readNetFromCaffe",
]
