"""Every kernel as nets launch it, compiled for every architecture: nothing spilled, as many blocks as its plan assumes.

A variant is a kernel file with its constants. For each architecture first come those that the measured nets launch,
then one for each kernel that they do not launch, then all others of the golden nets. The first two kinds take turns, as
many of them as MOST allows; so do the products that the measured nets launch in other precisions. `-m long` compiles
everything.
"""

import inspect
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest

import caffepy
from benchmarks.nets import NETS
from caffepy.blob import Floats, Ints
from caffepy.device import source
from caffepy.errors import KernelError
from caffepy.kernels import ALL, precision
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import TEST, TRAIN, NetParameter, Phase
from caffepy.saliency import channel_maximum  # with all of saliency's operations
from tests.cuda_on_cpu import build
from tests.kernels import nvrtc
from tests.kernels.nvrtc import ARCHITECTURES
from tests.kernels.recording import Launched, recording
from tests.layers import golden

MOST, MOST_ON_REQUEST = 160, 40
"""Compilations without `-m long`."""
ON_REQUEST = "constexpr int (tf32|narrow|weight_format) = [123];"
TENSOR_ARCHITECTURES = tuple(arch for arch in ARCHITECTURES if arch >= 80)

RARE = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 8 dim: 9 dim: 9 } } }
layer { name: "dropped" type: "Dropout" bottom: "x" top: "dropped" }
layer { name: "widened" type: "BatchNorm" bottom: "x" top: "widened"
        batch_norm_param { use_global_stats: true add_eps_before_sqrt: false } }
layer { name: "shares" type: "Softmax" bottom: "dropped" top: "shares" }
layer { name: "drawn" type: "Pooling" bottom: "shares" top: "drawn"
        pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 } }
layer { name: "max" type: "Pooling" bottom: "drawn" top: "max" top: "max_mask"
        pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "whole" type: "Pooling" bottom: "max" top: "whole" top: "whole_mask"
        pooling_param { global_pooling: true } }
layer { name: "relu6" type: "ReLU6" bottom: "x" top: "relu6" }
layer { name: "hard_swish" type: "HardSwish" bottom: "relu6" top: "hard_swish" }
layer { name: "smooth" type: "SmoothL1Loss" bottom: "x" bottom: "dropped" top: "smooth" }
layer { name: "l1" type: "L1Loss" bottom: "x" bottom: "dropped" top: "l1" }
layer { name: "lengths" type: "L1Loss" bottom: "x" bottom: "dropped" top: "lengths"
        l1_loss_param { l2_per_location: true normalize_by_num_entries: true } }
layer { name: "rois" type: "Input" top: "rois" input_param { shape { dim: 2 dim: 5 } } }
layer { name: "zeros" type: "Input" top: "zeros" input_param { shape { dim: 2 dim: 1 dim: 2 dim: 2 } } }
layer { name: "unpooled" type: "Upsample" bottom: "max" bottom: "max_mask" top: "unpooled"
        upsample_param { upsample_h: 4 upsample_w: 4 } }
layer { name: "turned" type: "Flip" bottom: "unpooled" top: "turned" }
layer { name: "padded" type: "Pad" bottom: "turned" top: "padded" pad_param { paddings: [0, 0, 0, 0, 2, 3, 2, 3] } }
layer { name: "normal" type: "BN" bottom: "padded" top: "normal" bn_param { eps: 0.1 } }
layer { name: "unit" type: "Normalize" bottom: "normal" top: "unit" norm_param { channel_shared: false } }
layer { name: "lengths_of" type: "Normalize" bottom: "normal" top: "of_length_1" top: "lengths_of" }
layer { name: "of_its_length" type: "ChannelScale" bottom: "of_length_1" bottom: "lengths_of" top: "of_its_length" }
layer { name: "places" type: "Input" top: "places" input_param { shape { dim: 2 dim: 8 } } }
layer { name: "masks" type: "YoloSeg" bottom: "x" bottom: "dropped" bottom: "places" top: "masks" }
layer { name: "scaled" type: "Axpy" bottom: "whole" bottom: "unit" bottom: "x" top: "scaled" }
layer { name: "stretched" type: "Mul" bottom: "whole" bottom: "scaled" top: "stretched" }
layer { name: "interp" type: "Interp" bottom: "stretched" top: "interp" interp_param { height: 5 width: 12 } }
layer { name: "darknet" type: "UpsampleDarknet" bottom: "interp" top: "darknet" upsample_darknet_param { stride: 2 } }
layer { name: "regions" type: "ROIPooling" bottom: "darknet" bottom: "rois" top: "regions"
        roi_pooling_param { pooled_h: 2 pooled_w: 2 } }
layer { name: "far" type: "Convolution" bottom: "x" top: "far" convolution_param {
        num_output: 8 group: 8 kernel_size: 2 dilation: 120 pad: 60 weight_filler { type: "xavier" } } }
layer { name: "far_normal" type: "BatchNorm" bottom: "far" top: "far" }
layer { name: "wide" type: "Input" top: "wide" input_param { shape { dim: 1 dim: 2 dim: 50 dim: 60 } } }
layer { name: "narrowed" type: "Convolution" bottom: "wide" top: "narrowed" convolution_param {
        num_output: 2 group: 2 kernel_size: 3 pad: 1 stride: 1 weight_filler { type: "xavier" } } }
layer { name: "normal" type: "BatchNorm" bottom: "narrowed" top: "narrowed" }
layer { name: "scaled_back" type: "Scale" bottom: "narrowed" top: "narrowed" scale_param { bias_term: true } }
layer { name: "mixed" type: "Convolution" bottom: "narrowed" top: "mixed" convolution_param {
        num_output: 3 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "mixed_normal" type: "BatchNorm" bottom: "mixed" top: "mixed" }
layer { name: "small" type: "Convolution" bottom: "x" top: "small" convolution_param {
        num_output: 4 kernel_size: 9 weight_filler { type: "xavier" } } }
layer { name: "small_normal" type: "BatchNorm" bottom: "small" top: "small" }
layer { name: "deltas" type: "Input" top: "deltas" input_param { shape { dim: 2 dim: 16 dim: 9 dim: 9 } } }
layer { name: "images" type: "Input" top: "images" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "proposal" type: "Proposal" bottom: "x" bottom: "deltas" bottom: "images" top: "proposal"
        proposal_param { ratio: 1 scale: [1, 2, 4, 8] min_size: 0 } }
layer { name: "location" type: "Input" top: "location" input_param { shape { dim: 2 dim: 80 } } }
layer { name: "confidence" type: "Input" top: "confidence" input_param { shape { dim: 2 dim: 60 } } }
layer { name: "prior" type: "Input" top: "prior" input_param { shape { dim: 1 dim: 2 dim: 80 } } }
layer { name: "found" type: "DetectionOutput" bottom: "location" bottom: "confidence" bottom: "prior" top: "found"
        detection_output_param { num_classes: 3 keep_top_k: 5 confidence_threshold: -1 } }
layer { name: "end" type: "Silence" bottom: "proposal" bottom: "found" }
layer { name: "hard_scores" type: "SoftmaxWithLossOHEM" bottom: "regions" bottom: "zeros" top: "hard_loss"
        top: "hard_shares" top: "hard_losses" loss_weight: 1 loss_weight: 0 loss_weight: 0 }
layer { name: "hard_boxes" type: "SmoothL1LossOHEM" bottom: "x" bottom: "dropped" top: "box_loss" top: "box_losses"
        loss_weight: 1 loss_weight: 0 }
layer { name: "insane" type: "Insanity" bottom: "x" top: "insane" }
layer { name: "selu" type: "SeLu" bottom: "insane" top: "selu" }
layer { name: "selu_dropped" type: "SeLuDropout" bottom: "selu" top: "selu_dropped" }
layer { name: "parts" type: "PSROIPooling" bottom: "darknet" bottom: "rois" top: "parts"
        psroi_pooling_param { output_dim: 2 group_size: 2 spatial_scale: 1 } }
layer { name: "alike" type: "Correlation" bottom: "x" bottom: "dropped" top: "alike"
        correlation_param { kernel_size: 1 max_displacement: 1 } }
layer { name: "flow" type: "DummyData" top: "flow" dummy_data_param {
        shape { dim: 2 dim: 2 dim: 9 dim: 9 } data_filler { type: "uniform" min: -4 max: 4 } } }
layer { name: "warped" type: "FlowWarp" bottom: "x" bottom: "flow" top: "warped" }
layer { name: "resampled" type: "Resample" bottom: "warped" top: "resampled" resample_param { factor: 2 } }
layer { name: "norm" type: "ChannelNorm" bottom: "resampled" top: "norm" }
layer { name: "map" type: "Input" top: "map" input_param { shape { dim: 2 dim: 1 dim: 9 dim: 9 } } }
layer { name: "shares_right" type: "SegAccuracy" bottom: "x" bottom: "map" top: "shares_right" }
layer { name: "distances" type: "InnerDistance" bottom: "x" top: "distances" inner_distance_param { num_output: 3 } }
layer { name: "yes_or_no" type: "SigmoidLoss" bottom: "x" bottom: "dropped" top: "yes_or_no" }
layer { name: "labels" type: "Input" top: "labels" input_param { shape { dim: 2 } } }
layer { name: "margins" type: "MarginInnerProduct" bottom: "x" bottom: "labels" top: "margins"
        margin_inner_product_param { num_output: 5 type: DOUBLE } }
layer { name: "centres" type: "CenterLoss" bottom: "x" bottom: "labels" top: "centres"
        center_loss_param { num_output: 5 } }
layer { name: "weakened" type: "Dropout" bottom: "x" top: "weakened" dropout_param { scale_train: false } }
layer { name: "specific" type: "LabelSpecificAdd" bottom: "margins" bottom: "labels" top: "specific"
        label_specific_add_param { bias: -0.35 } }
layer { name: "wide_regions" type: "ROIPooling" bottom: "x" bottom: "rois" top: "wide_regions"
        roi_pooling_param { pooled_h: 2 pooled_w: 2 pad_ratio: 0.5 } }
layer { name: "warped_regions" type: "ROIWarping" bottom: "x" bottom: "rois" top: "warped_regions"
        roi_warping_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.25 } }
layer { name: "sequence" type: "Input" top: "sequence" input_param { shape { dim: 3 dim: 2 dim: 4 } } }
layer { name: "clipped" type: "Lstm" bottom: "sequence" top: "clipped"
        lstm_param { num_output: 2 clipping_threshold: 1 } }
layer { name: "long" type: "Input" top: "long" input_param { shape { dim: 1 dim: 1 dim: 20000 } } }
layer { name: "long_sum" type: "Reduction" bottom: "long" top: "long_sum" }
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
    assert complaints(_in_turn(important(), MOST)[arch], arch) == []


@pytest.mark.long
@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_all_variants(arch: int) -> None:
    assert complaints([*important()[arch], *unimportant()[arch]], arch) == []


@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("arch", TENSOR_ARCHITECTURES)
def test_usual_variants_on_request(arch: int) -> None:
    assert complaints(_in_turn(products_on_request(), MOST_ON_REQUEST)[arch], arch) == []


@pytest.mark.long
@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("arch", TENSOR_ARCHITECTURES)
def test_all_variants_on_request(arch: int) -> None:
    assert complaints(products_on_request()[arch], arch) == []


def test_every_kernel_is_launched_by_some_net() -> None:
    """So that it is compiled above; and a kernel that nothing launches is nobody's."""
    there = {(file.name, name) for file in source.folder().rglob("*.cu") for name in build.kernels(file.read_text())}
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


def _in_turn(variants: dict[int, list[Variant]], most: int) -> dict[int, list[Variant]]:
    """Those at the same place in the architectures' lists in turn, `most` of all."""
    turns = [
        ((place + turn) % len(variants), place, arch, variant)
        for turn, (arch, of_arch) in enumerate(variants.items())
        for place, variant in enumerate(of_arch)
    ]
    chosen = sorted(turns, key=lambda turn: turn[:2])[:most]
    return {arch: [variant for _, _, its, variant in chosen if its == arch] for arch in variants}


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
    return _variants(_measured(1), ARCHITECTURES)


@cache
def products_on_request() -> dict[int, list[Variant]]:
    """By architecture, what those nets launch for tensor cores and of halved weights, at batch 16 or 1."""
    found: dict[int, list[Variant]] = {arch: [] for arch in TENSOR_ARCHITECTURES}
    for name, num in (("tf32", 16), ("3xtf32", 1), ("fp16", 1), ("bf16", 16)):
        precision.set_precision(name)
        try:
            for arch, variants in _variants(_measured(num), TENSOR_ARCHITECTURES).items():
                found[arch] += variants
        finally:
            precision.set_precision("fp32")
    return {
        arch: [
            variant
            for variant in variants
            if re.search("constexpr int (tf32|narrow|weight_format) = [123];", variant[0].source)
        ]
        for arch, variants in found.items()
    }


def _measured(num: int) -> Iterator[caffepy.Net]:
    for net in NETS.values():
        param = net(num)
        param.force_backward = True
        for layer in param.layer:  # zeros will do, and are made sooner
            layer.convolution_param.ClearField("weight_filler")
            layer.inner_product_param.ClearField("weight_filler")
        yield caffepy.Net(param, TEST)


@cache
def golden_nets() -> dict[int, list[Variant]]:
    """By architecture, the variants of the golden nets and of RARE."""

    def nets() -> Iterator[caffepy.Net]:
        for case in golden.runnable():
            yield caffepy.Net(prototxt.parse(case.prototxt, NetParameter), Phase.Value(case.phase))
        for phase in (TRAIN, TEST):
            yield caffepy.Net(prototxt.parse(RARE, NetParameter), phase)

    found = _variants(nets(), ARCHITECTURES)
    return {arch: [*variants, *_by_source(_of_other_packages(arch))] for arch, variants in found.items()}


def _of_other_packages(arch: int) -> Iterable[Launched]:
    """What operations of saliency, rules and solvers launch, on arrays of any size: none of them has constants."""
    dtypes = {Floats: np.float32, Floats | None: np.float32, Ints: np.int32}
    with recording(arch) as gpu:
        for operation in ALL.values():
            if not operation.twin.__module__.startswith("caffepy.layers."):
                kinds = [parameter.annotation for parameter in inspect.signature(operation.twin).parameters.values()]
                operation(*(gpu.zeros(60, dtypes[kind]) if kind in dtypes else 1 for kind in kinds))
        return gpu.launches


def _by_source(launches: Iterable[Launched]) -> list[Variant]:
    found: dict[str, list[Launched]] = {}
    for launch in launches:
        found.setdefault(launch.source, []).append(launch)
    return [tuple(variant) for variant in found.values()]


def _variants(nets: Iterable[caffepy.Net], archs: Sequence[int]) -> dict[int, list[Variant]]:
    """By architecture, what passes of the nets launch."""
    found: dict[int, dict[Launched, None]] = {arch: {} for arch in archs}
    for net in nets:
        for arch in archs:
            with recording(arch) as gpu, warnings.catch_warnings(action="ignore", category=caffepy.NotComputedWarning):
                net.forward()
                caffepy.set_param_diffs("always")
                net.backward()
                caffepy.set_param_diffs("deferred")
                shapes = {name: net.blobs[name].shape for name in net.outputs}
                gradients = net.gradient({name: gpu.zeros(shape, np.float32) for name, shape in shapes.items()})
                for gradient in gradients.values():
                    if gradient.ndim == 4:
                        channel_maximum(gradient)
            found[arch].update(gpu.launches)
    return {arch: _by_source(launches) for arch, launches in found.items()}
