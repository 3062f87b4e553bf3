"""Train caffepy's embedded Fashion-MNIST net: plain SGD over net.params, with the engine's own forward and backward."""

import argparse
import gzip
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import caffepy

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

HERE = Path(__file__).resolve().parent
TRAIN_NET = HERE / "train.prototxt"
DEPLOY_NET = Path(caffepy.__file__).parent / "zoo" / "fashion_mnist" / "deploy.prototxt"
DATA = Path("/usr/share/datasets/fashion-mnist")

SAMPLES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"]
"""File names of the sample images, in the order of the labels 0 to 9."""

EPOCHS = 8
BASE_LR = 0.02
LR_STEPS, LR_GAMMA = (0.4, 0.6, 0.8, 0.9), 0.3
"""After these parts of the run the learning rate is multiplied by LR_GAMMA."""
MOMENTUM = 0.9
WEIGHT_DECAY = 2e-4
EPSILON = 0.015
"""How far, in parts of the pixel range, the images are moved against the net (see `accumulate_diffs`)."""


# ---- data


def load(folder: Path, part: str) -> tuple[Bytes, Bytes]:
    """Images (N, 28, 28) and labels (N) of `part`, "train" or "t10k"."""
    return read_idx(folder / f"{part}-images-idx3-ubyte.gz"), read_idx(folder / f"{part}-labels-idx1-ubyte.gz")


def read_idx(path: Path) -> Bytes:
    """The bytes of a gzip IDX file, in the shape it states: two zeros, 8 (bytes), number of axes, extents, values."""
    if not path.exists():
        raise SystemExit(
            f"{path} is not there. Fashion-MNIST's four .gz files come with Debian's package dataset-fashion-mnist "
            f"(then --data {DATA}) or from https://github.com/zalandoresearch/fashion-mnist (data/fashion)"
        )
    content = gzip.decompress(path.read_bytes())
    axes = content[3] if content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content, ">u4", axes, 4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if not axes or values.size != math.prod(shape.tolist()):
        raise SystemExit(f"{path} is not a whole IDX file of bytes: download it again")
    return values.reshape(shape)


def scaled(images: Bytes) -> Floats:
    """(N, 28, 28) bytes as the net takes them: (N, 1, 28, 28), pixels / 255."""
    return np.divide(images[:, np.newaxis], 255, dtype=np.float32)


# ---- training


def train(
    net: caffepy.Net, images: Bytes, labels: Bytes, epochs: int, generator: np.random.Generator
) -> Iterator[float]:
    """Train `net` in place; after each epoch, its mean loss on the images as they are.

    Each epoch takes whole batches in a new order; what does not fill a last one waits for another epoch.
    """
    batch = net.blobs["data"].num
    steps = len(images) // batch
    moments = [np.zeros_like(blob.data) for blobs in net.params.values() for blob in blobs]
    for epoch in range(epochs):
        order, loss = generator.permutation(len(images)), 0.0
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            loss += accumulate_diffs(net, scaled(images[chosen]), labels[chosen]) / steps
            update(net, moments, learning_rate((epoch * steps + step) / (epochs * steps)))
        yield loss


def accumulate_diffs(net: caffepy.Net, data: Floats, labels: Bytes) -> float:
    """Add to the weights' diffs those of L(x) + L(x + EPSILON sign(dL/dx)); returns L(x).

    Goodfellow, Shlens & Szegedy 2014 (arXiv 1412.6572), section 6. A net that is not swayed by small changes in the
    worst direction has input gradients that follow the object rather than noise.
    """
    loss = float(net.forward(data=data, label=labels)["loss"])
    slope = net.backward(end="conv1")["data"]
    net.forward(data=data + np.float32(EPSILON) * np.sign(slope), label=labels)
    net.backward(end="conv1")
    return loss


def learning_rate(done: float) -> float:
    """The rate when this part of the run, 0 to 1, is done."""
    return BASE_LR * LR_GAMMA ** sum(done >= step for step in LR_STEPS)


def update(net: caffepy.Net, moments: list[Floats], rate: float) -> None:
    """v = MOMENTUM v + rate (diff + WEIGHT_DECAY w), w -= v, as Caffe's SGD; biases do not decay. Clears the diffs."""
    blobs = [(blob, index == 0) for blobs in net.params.values() for index, blob in enumerate(blobs)]
    for (blob, decays), moment in zip(blobs, moments, strict=True):
        data, diff = blob.data, blob.diff
        moment *= np.float32(MOMENTUM)
        moment += np.float32(rate) * diff
        if decays:
            moment += np.float32(rate * WEIGHT_DECAY) * data
        data -= moment
        diff[...] = 0


# ---- measuring and keeping


def accuracy(net: caffepy.Net, images: Bytes, labels: Bytes, batch: int = 500) -> float:
    """The part of the images whose highest 'prob' is their label's. `net`, the deploy net, keeps that batch size."""
    right = 0
    for start in range(0, len(images), batch):
        data = scaled(images[start : start + batch])
        net.blobs["data"].reshape(data.shape)
        right += int((net.forward(data=data)["prob"].argmax(axis=1) == labels[start : start + batch]).sum())
    return right / len(images)


def save_samples(images: Bytes, labels: Bytes, folder: Path) -> None:
    """The first image of each class as a 28 x 28 grey PNG."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for label, name in enumerate(SAMPLES):
        Image.fromarray(images[labels == label][0]).save(folder / f"{label}-{name}.png", optimize=True)


def main(arguments: Any = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the four .gz files (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the model and the samples")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and the order (default: %(default)s)")
    options = parser.parse_args(arguments)

    training, testing = load(options.data, "train"), load(options.data, "t10k")
    caffepy.set_random_seed(options.seed)
    net, deploy = caffepy.Net(TRAIN_NET, caffepy.TRAIN), caffepy.Net(DEPLOY_NET, caffepy.TEST)
    deploy.share_with(net)
    begin = time.perf_counter()
    for epoch, loss in enumerate(train(net, *training, options.epochs, np.random.default_rng(options.seed)), 1):
        seconds = time.perf_counter() - begin
        print(
            f"epoch {epoch}: loss {loss:.4f}, test accuracy {accuracy(deploy, *testing):.4f}, {seconds:.0f} s",
            flush=True,
        )
    print(f"training accuracy {accuracy(deploy, *training):.4f}")
    options.output.mkdir(parents=True, exist_ok=True)
    deploy.save(options.output / "fashion_mnist.caffemodel")
    save_samples(*testing, options.output / "samples")


if __name__ == "__main__":
    main()
