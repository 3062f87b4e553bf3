"""One engine training one net in a process of its own, so that no library's threads disturb the other's.

`python -m benchmarks.train_worker ENGINE NET BATCH THREADS` reads commands from its input, one a line, and answers each
with a line of JSON:

    step N    seconds of N iterations: forward, backward and SGD with momentum and weight decay
    loss      the loss after the last of them
"""

import json
import sys
import time
from typing import Any

import numpy as np

import caffepy
from benchmarks.nets import NETS
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter, SolverParameter

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.001, 0.9, 0.0005
CLASSES = {"lenet": 10, "caffenet": 1000}

LENET = """
name: "LeNet"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: %d dim: 1 dim: 28 dim: 28 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
        convolution_param { num_output: 50 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1"
        inner_product_param { num_output: 500 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
"""


def definition(name: str, batch: int) -> NetParameter:
    """The net with labels and a loss instead of probabilities."""
    if name == "lenet":
        net = prototxt.parse(LENET % batch, NetParameter)
    else:
        net = NETS[name](batch)
        del net.layer[-1]
    label = net.layer.add(name="label", type="Input", top=["label"])
    label.input_param.shape.add(dim=[batch])
    net.layer.add(name="loss", type="SoftmaxWithLoss", bottom=[net.layer[-2].top[0], "label"], top=["loss"])
    return net


class Caffepy:
    """This project's solver."""

    def __init__(self, name: str, batch: int, threads: int) -> None:
        caffepy.set_random_seed(1701)
        param = SolverParameter(train_net_param=definition(name, batch), lr_policy="fixed", base_lr=LEARNING_RATE)
        param.momentum, param.weight_decay = MOMENTUM, WEIGHT_DECAY
        self.solver = caffepy.SGDSolver(param)
        blobs, chance = self.solver.net.blobs, np.random.default_rng(1701)
        blobs["data"].data[...] = chance.standard_normal(blobs["data"].shape)
        blobs["label"].data[...] = chance.integers(CLASSES[name], size=batch)

    def step(self) -> None:
        self.solver.step(1)

    def loss(self) -> float:
        return float(self.solver.net.blobs["loss"].data)


class Torch:
    """PyTorch eager, from the same weights and data."""

    def __init__(self, name: str, batch: int, threads: int) -> None:
        import torch

        from benchmarks.torch_net import translated

        torch.set_num_threads(threads)
        self.torch = torch
        net = Caffepy(name, batch, threads).solver.net
        self.data, self.label = (torch.from_numpy(net.blobs[key].data.copy()) for key in ("data", "label"))
        self.label = self.label.long()
        self.steps, weights = [], []
        for layer in net.layers:
            if layer.type == "Dropout":
                self.steps.append(lambda x: torch.nn.functional.dropout(x, 0.5))
            elif layer.type not in ("Input", "SoftmaxWithLoss"):
                own = [torch.from_numpy(blob.data.copy()).requires_grad_() for blob in layer.blobs]
                weights += own
                self.steps.append(translated(layer.param, own))
        self.optimizer = torch.optim.SGD(weights, LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY)

    def step(self) -> None:
        self.optimizer.zero_grad()
        top = self.data
        for step in self.steps:
            top = step(top)
        self._loss = self.torch.nn.functional.cross_entropy(top, self.label)
        self._loss.backward()
        self.optimizer.step()

    def loss(self) -> float:
        return float(self._loss.detach())


ENGINES: dict[str, type[Caffepy] | type[Torch]] = {"caffepy": Caffepy, "torch": Torch}


def main(engine: str, name: str, batch: int, threads: int) -> None:
    """Answer commands until the input ends."""
    runner = ENGINES[engine](name, batch, threads)
    for line in sys.stdin:
        command, _, count = line.strip().partition(" ")
        answer: Any = []
        if command == "loss":
            answer = runner.loss()
        else:
            for _ in range(int(count)):
                start = time.perf_counter()
                runner.step()
                answer.append(time.perf_counter() - start)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
