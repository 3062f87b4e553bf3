"""`python -m benchmarks.scale`: what a model of batch runs and of training says for machines that are not here.

A run is simulated shard by shard: each worker takes the next one, reads it over a network that all share, decodes it on
its cores beside the net's passes, and writes it. A training step is a pass and a ring's sum of the gradients.
"""

import heapq
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """What a worker has, and what a picture costs it, in seconds of one core, or of the GPU."""

    net: float
    decode: float
    cores: int
    """For decoding, beside the net's own where the net runs on a GPU."""
    gpu: bool


def simulated(
    machine: Machine,
    workers: int,
    pictures: int,
    shard: int,
    picture_bytes: float,
    bandwidth: float,
    deaths: float = 0.0,
) -> float:
    """Pictures a second of a whole run; a worker ends in the midst of a shard with the probability `deaths`."""
    chance = random.Random(0)
    alone = machine.decode + machine.net
    each = max(machine.net, machine.decode / machine.cores) if machine.gpu else alone
    free = [(0.0, worker) for worker in range(workers)]
    network, last = 0.0, 0.0
    todo = -(-pictures // shard)
    while todo:
        now, worker = heapq.heappop(free)
        network = max(network, now) + shard * picture_bytes / bandwidth
        end = max(now + shard * each, network)
        if chance.random() < deaths:
            heapq.heappush(free, (now + (end - now) * chance.random(), worker))
            continue
        todo -= 1
        last = max(last, end)
        heapq.heappush(free, (end, worker))
    return pictures / last


def step(compute: float, weights: int, processes: int, bandwidth: float, latency: float, overlap: float = 0.0) -> float:
    """The efficiency of a step of `compute` seconds and a ring's sum of so many float32, partly beside them."""
    rounds = 2 * (processes - 1)
    sums = rounds * (4 * weights / processes / bandwidth + latency)
    return compute / (compute + max(0.0, sums - overlap * compute))


NET, SMALL, PHOTOGRAPH = 0.0200, 0.0012, 0.0027
"""Seconds of a core, measured: a picture in GoogLeNet's pass; to read, decode, prepare and write one of 256 x 256
pixels (22 kB), and one of 480 x 360 (110 kB)."""
NETWORKS = (8, "NVLink", 200e9), (64, "10 Gbit/s", 1.25e9), (64, "100 Gbit/s", 12.5e9)
"""Processes, what joins them, and its bytes a second."""


def main() -> None:
    """Print docs/scale.md's tables."""
    small, core = Machine(NET, SMALL, 1, gpu=False), Machine(NET, PHOTOGRAPH, 1, gpu=False)
    print("| workers | pictures/s of 576 small pictures in shards of 32 |\n|---|---|")
    for workers in (1, 2):
        print(f"| {workers} | {simulated(small, workers, 576, 32, 22e3, 1e9):.1f} |")
    print("\n| workers | pictures/s | efficiency |\n|---|---|---|")
    for workers, bandwidth in ((1, 1e9), (2, 1e9), (16, 1e9), (128, 1.25e9), (1024, 1.25e9)):
        rate = simulated(core, workers, 1_000_000, 512, 110e3, bandwidth, 0.001)
        print(f"| {workers} | {rate:,.0f} | {rate / workers / simulated(core, 1, 10_240, 512, 110e3, 1e9):.1%} |")
    print("\n| GPUs | cores for each | pictures/s | of the GPUs' own rate |\n|---|---|---|---|")
    for gpus, cores in ((1, 2), (1, 16), (8, 2), (8, 16), (8, 24)):
        gpu = Machine(1 / 5000, PHOTOGRAPH, cores, gpu=True)
        rate = simulated(gpu, gpus, 10_000_000, 512, 110e3, 12.5e9)
        print(f"| {gpus} | {cores} | {rate:,.0f} | {rate / gpus / 5000:.0%} |")
    print("\n| net | processes | network | summed behind | beside backward |\n|---|---|---|---|---|")
    for name, weights, compute in (("GoogLeNet", 7_000_000, 0.1), ("AlexNet", 61_000_000, 0.1)):
        for processes, network, bandwidth in NETWORKS:
            behind = step(compute, weights, processes, bandwidth, 5e-6)
            beside = step(compute, weights, processes, bandwidth, 5e-6, overlap=0.6)
            print(f"| {name} | {processes} | {network} | {behind:.0%} | {beside:.0%} |")


if __name__ == "__main__":
    main()
