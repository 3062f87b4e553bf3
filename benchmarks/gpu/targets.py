"""What was to be reached on a card of the H200's class, and whether it was: ratios within one run."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

Result = dict[str, Any]

BANDWIDTH = {
    "LRN": ("forward", "backward"),
    "Pooling": ("forward", "backward"),
    "ReLU": ("forward", "backward"),
    "Eltwise": ("forward", "backward"),
    "Convolution": ("bias",),
}


@dataclass(frozen=True)
class Target:
    """`value` is to be at most, or at least, `goal`; None where nothing of it was measured."""

    name: str
    value: float | None
    goal: float
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it was reached."""
        if self.value is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def of(result: Result) -> list[Result]:
    """Every target with its value."""
    targets = [*_saliency(result), *_convolutions(result), *_bandwidths(result), _host(result)]
    return [asdict(target) | {"met": target.met} for target in targets]


def geometric_mean(values: Iterable[float]) -> float | None:
    """None of nothing."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


def conv_speedup(result: Result, precision: str, net: str, batch: int | None = None) -> float | None:
    """Of a net's convolutions, each distinct shape counted once, to data and to weights as well as forward."""
    return geometric_mean(
        layer["speedup"]
        for layer in result["layers"]
        if layer["type"] == "Convolution"
        and layer["way"] != "bias"
        and layer["precision"] == precision
        and net in layer["nets"]
        and batch in (None, layer["batch"])
        and "speedup" in layer
    )


def copy_share(result: Result, kind: str, way: str) -> float | None:
    """Bytes moved a second, as a share of the copy bandwidth, of the layers that do not fit into the L2 cache."""
    best = max(result["ceilings"].get("copy", {}).values(), default=None)
    return best and geometric_mean(
        1e-6 * layer["bytes"] / layer["caffepy"] / best
        for layer in result["layers"]
        if layer["type"] == kind and layer["way"] == way and layer["bytes"] > result["l2"]
    )


def floor(result: Result) -> float | None:
    """Milliseconds of streaming the saliency net's weights once each way at the copy bandwidth."""
    best = max(result["ceilings"].get("copy", {}).values(), default=None)
    net = _saliency_gradient(result)
    return 2e-6 * net["weights"] / best if best and net else None


def _saliency_gradient(result: Result) -> Result | None:
    wanted = {"net": result["saliency_net"], "batch": 1, "what": "gradient", "precision": "fp32"}
    return next((net for net in result["nets"] if wanted.items() <= net.items()), None)


def _saliency(result: Result) -> list[Target]:
    name = f"{result['saliency_net']}, forward + gradient, batch 1, fp32"
    net, least = _saliency_gradient(result), floor(result)
    found = [Target(f"{name}: ms", net["caffepy"] if net else None, 0.25, at_most=True)]
    beside = Target(f"{name}: times as fast as the fastest PyTorch mode", net.get("speedup") if net else None, 2)
    ratio = net["caffepy"] / least if net and least else None
    above = Target(f"{name}: times the floor of streaming the weights", ratio, 1.6, at_most=True)
    return [*found, min((beside, above), key=lambda target: not target.met)]  # either will do


def _convolutions(result: Result) -> list[Target]:
    nets = sorted({net for layer in result["layers"] for net in layer["nets"]})

    def mean(precision: str) -> float | None:
        return geometric_mean(speedup for net in nets if (speedup := conv_speedup(result, precision, net)))

    return [
        Target("convolutions, fp32: times as fast as cuDNN with TF32 off", mean("fp32"), 1.0),
        Target("convolutions, tf32: times as fast as cuDNN with TF32 on", mean("tf32"), 0.9),
    ]


def _bandwidths(result: Result) -> list[Target]:
    return [
        Target(f"{kind}, {way}: share of the copy bandwidth", copy_share(result, kind, way), 0.85)
        for kind, ways in BANDWIDTH.items()
        for way in ways
    ]


def _host(result: Result) -> Target:
    hosts = [net["host"] for net in result["nets"] if "host" in net and net["batch"] == 1]
    return Target("host time of a replayed forward + gradient, the worst net: us", max(hosts, default=None), 60, True)
