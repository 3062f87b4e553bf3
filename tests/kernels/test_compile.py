"""Every kernel as nets launch it, compiled for every architecture: nothing spilled, as many blocks as its plan assumes.

A variant is a kernel file with its constants. For each architecture first come those that the measured nets launch,
then one for each kernel that they do not launch, then all others of the golden nets. The first two kinds take turns, as
many of them as MOST allows; `-m long` compiles everything.
"""

import re
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest

import caffepy
from benchmarks.nets import NETS
from caffepy.device import source
from caffepy.errors import KernelError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import TEST, TRAIN, NetParameter, Phase
from tests.cuda_on_cpu import build
from tests.kernels import nvrtc
from tests.kernels.nvrtc import ARCHITECTURES
from tests.kernels.recording import Launched, recording
from tests.layers import golden

MOST = 200
"""Compilations without `-m long`."""

RARE = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 8 dim: 9 dim: 9 } } }
layer { name: "dropped" type: "Dropout" bottom: "x" top: "dropped" }
layer { name: "shares" type: "Softmax" bottom: "dropped" top: "shares" }
layer { name: "drawn" type: "Pooling" bottom: "shares" top: "drawn"
        pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 } }
layer { name: "max" type: "Pooling" bottom: "drawn" top: "max" top: "max_mask"
        pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "whole" type: "Pooling" bottom: "max" top: "whole" top: "whole_mask"
        pooling_param { global_pooling: true } }
"""
"""What neither the measured nets nor the golden ones have."""

Variant = tuple[Launched, ...]
"""Launches of one file with the same constants: one compilation."""


@pytest.fixture
def _compiler() -> None:
    reason = nvrtc.unavailable()
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_usual_variants(arch: int) -> None:
    assert complaints(usual()[arch], arch) == []


@pytest.mark.long
@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_all_variants(arch: int) -> None:
    assert complaints([*important()[arch], *unimportant()[arch]], arch) == []


def test_every_kernel_is_launched_by_some_net() -> None:
    """So that it is compiled above; and a kernel that nothing launches is nobody's."""
    there = {(file.name, name) for file in source.folder().glob("*.cu") for name in build.kernels(file.read_text())}
    everything = [
        variant for kind in (important(), unimportant()) for variants in kind.values() for variant in variants
    ]
    assert there - {(launch.file, launch.entry) for variant in everything for launch in variant} == set()


def complaints(variants: list[Variant], arch: int) -> list[str]:
    """What is wrong with their kernels on that architecture."""
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda variant: [wrong for launch in variant for wrong in _checked(launch, arch)], variants)
        return [wrong for of_variant in found for wrong in of_variant]


def _checked(launch: Launched, arch: int) -> list[str]:
    kernel = nvrtc.Variant(launch.source, launch.entry, launch.threads, launch.shared_bytes, _blocks_assumed(launch))
    constants = " ".join(re.findall(r"constexpr \w+ (\w+ = [^;]+);", launch.source.partition("#line")[0]))
    try:
        found = kernel.complaints([arch])
    except KernelError as error:
        found = [str(error)]
    return [f"{complaint} [{launch.file}: {constants}]" for complaint in found]


def _blocks_assumed(launch: Launched) -> int:
    """The kernel's `__launch_bounds__(threads, blocks)`, where `blocks` may be one of the constants."""
    bounds = re.search(r",\s*(\w+)\s*\)$", build.kernels(launch.source)[launch.entry])
    if bounds is None:
        return 1
    named = re.search(rf"constexpr int {bounds[1]} = (\d+);", launch.source)
    return int(named[1] if named else bounds[1])


@cache
def usual() -> dict[int, list[Variant]]:
    """By architecture, the important variants, those at the same place in their lists in turn, MOST of all."""
    turns = [
        ((place + turn) % len(ARCHITECTURES), place, arch, variant)
        for turn, arch in enumerate(ARCHITECTURES)
        for place, variant in enumerate(important()[arch])
    ]
    chosen = sorted(turns, key=lambda turn: turn[:2])[:MOST]
    return {arch: [variant for _, _, its, variant in chosen if its == arch] for arch in ARCHITECTURES}


@cache
def important() -> dict[int, list[Variant]]:
    """By architecture, the measured nets' variants, and one for each kernel they do not launch."""
    return {
        arch: [*variants, *_first_of_kernels(golden_nets()[arch], variants)]
        for arch, variants in benchmark_nets().items()
    }


@cache
def unimportant() -> dict[int, list[Variant]]:
    """By architecture, the other variants."""
    known = {arch: {variant[0].source for variant in variants} for arch, variants in important().items()}
    return {
        arch: [variant for variant in variants if variant[0].source not in known[arch]]
        for arch, variants in golden_nets().items()
    }


def _first_of_kernels(variants: list[Variant], known: list[Variant]) -> list[Variant]:
    seen = {(launch.file, launch.entry) for variant in known for launch in variant}
    found = []
    for variant in variants:
        kernels = {(launch.file, launch.entry) for launch in variant}
        if not kernels <= seen:
            found.append(variant)
            seen |= kernels
    return found


@cache
def benchmark_nets() -> dict[int, list[Variant]]:
    """By architecture, the variants of the nets that are measured, at batch 1."""

    def nets() -> Iterator[caffepy.Net]:
        for net in NETS.values():
            param = net(1)
            param.force_backward = True
            for layer in param.layer:  # zeros will do, and are made sooner
                layer.convolution_param.ClearField("weight_filler")
                layer.inner_product_param.ClearField("weight_filler")
            yield caffepy.Net(param, TEST)

    return _variants(nets())


@cache
def golden_nets() -> dict[int, list[Variant]]:
    """By architecture, the variants of the golden nets and of RARE."""

    def nets() -> Iterator[caffepy.Net]:
        for case in golden.runnable():
            yield caffepy.Net(prototxt.parse(case.prototxt, NetParameter), Phase.Value(case.phase))
        for phase in (TRAIN, TEST):
            yield caffepy.Net(prototxt.parse(RARE, NetParameter), phase)

    return _variants(nets())


def _variants(nets: Iterator[caffepy.Net]) -> dict[int, list[Variant]]:
    """By architecture, what passes of the nets launch."""
    found: dict[int, dict[Launched, None]] = {arch: {} for arch in ARCHITECTURES}
    for net in nets:
        for arch in ARCHITECTURES:
            with recording(arch) as gpu, warnings.catch_warnings(action="ignore", category=caffepy.NotComputedWarning):
                net.forward()
                net.backward()
                shapes = {name: net.blobs[name].shape for name in net.outputs}
                net.gradient({name: gpu.zeros(shape, np.float32) for name, shape in shapes.items()})
            found[arch].update(gpu.launches)
    by_source: dict[int, dict[str, list[Launched]]] = {arch: {} for arch in ARCHITECTURES}
    for arch, launches in found.items():
        for launch in launches:
            by_source[arch].setdefault(launch.source, []).append(launch)
    return {arch: [tuple(variant) for variant in variants.values()] for arch, variants in by_source.items()}
