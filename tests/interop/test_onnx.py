"""Nets as ONNX models, run by onnx's reference evaluator, and by onnxruntime where it is installed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import LayerError, MissingFileError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter
from tests.nets import CHAIN, FORK, make, noise
from tests.shared import shared

onnx = pytest.importorskip("onnx", reason="needs pip install onnx")
from onnx.reference import ReferenceEvaluator  # noqa: E402

from caffepy.interop.onnx import to_onnx  # noqa: E402

Run = Callable[[bytes, dict[str, np.ndarray]], list[np.ndarray]]


def by_reference(model: bytes, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return list(ReferenceEvaluator(onnx.load_from_string(model)).run(None, inputs))


def by_runtime(model: bytes, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    runtime = pytest.importorskip("onnxruntime", reason="needs pip install onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return list(runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, inputs))


RUNS = [pytest.param(by_reference, id="reference"), pytest.param(by_runtime, id="onnxruntime")]


def check(net: caffe.Net, path: Path, run: Run, rtol: float = 1e-4, atol: float = 1e-5, **inputs: np.ndarray) -> Any:
    """Export the net and run it on the inputs, by default noise, beside the net; the model."""
    given = {name: noise(*net.blobs[name].shape, seed=i + 5) for i, name in enumerate(net.inputs)} | inputs
    outputs = {name: value.copy() for name, value in net.forward(**given).items()}
    to_onnx(net, path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    found = run(path.read_bytes(), given)
    for value, result in zip(model.graph.output, found, strict=True):
        expected = outputs[value.name.partition("@")[0]]
        assert result.shape == expected.shape, value.name
        np.testing.assert_allclose(result, expected, rtol, atol, err_msg=value.name)
    return model


def one_layer(layer: str, *shapes: tuple[int, ...], tops: int = 1) -> str:
    """Prototxt of inputs x0, x1, ... of these shapes, and of `layer`, given its type and parameters."""
    inputs = "".join(
        f'layer {{ name: "x{i}" type: "Input" top: "x{i}" input_param {{ shape {{ '
        f"{' '.join(f'dim: {n}' for n in shape)} }} }} }}\n"
        for i, shape in enumerate(shapes)
    )
    bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(shapes)))
    outputs = " ".join(f'top: "y{i}"' for i in range(tops))
    kind, _, parameters = layer.partition(" ")
    return f'{inputs}layer {{ name: "it" type: "{kind}" {bottoms} {outputs} {parameters} }}'


IMAGE = (2, 4, 7, 8)
FILLED = 'weight_filler { type: "gaussian" std: 0.3 } bias_filler { type: "gaussian" std: 0.3 }'
LAYERS = {
    "relu": ("ReLU", IMAGE),
    "leaky": ("ReLU relu_param { negative_slope: 0.2 }", IMAGE),
    "relu6": ("ReLU6", IMAGE),
    "prelu": ('PReLU prelu_param { filler { type: "uniform" } }', IMAGE),
    "prelu_shared": ("PReLU prelu_param { channel_shared: true }", (2, 5)),
    "elu": ("ELU elu_param { alpha: 0.7 }", IMAGE),
    "selu": ("SeLu", IMAGE),
    "sigmoid": ("Sigmoid", IMAGE),
    "tanh": ("TanH", IMAGE),
    "absval": ("AbsVal", IMAGE),
    "bnll": ("BNLL", IMAGE),
    "hard_swish": ("HardSwish", IMAGE),
    "swish": ("Swish swish_param { beta: 1.5 }", IMAGE),
    "clip": ("Clip clip_param { min: -0.5 max: 0.25 }", IMAGE),
    "exp": ("Exp exp_param { base: 2 scale: 0.5 shift: 1 }", IMAGE),
    "power": ("Power power_param { power: 2 scale: 0.5 shift: 1 }", IMAGE),
    "power_none": ("Power", IMAGE),
    "threshold": ("Threshold threshold_param { threshold: 0.3 }", IMAGE),
    "dropout": ("Dropout", IMAGE),
    "sum": ("Eltwise eltwise_param { coeff: 1 coeff: -2 coeff: 0.5 }", IMAGE, IMAGE, IMAGE),
    "prod": ("Eltwise eltwise_param { operation: PROD }", IMAGE, IMAGE, IMAGE),
    "max": ("Eltwise eltwise_param { operation: MAX }", IMAGE, IMAGE),
    "add": ("Add", IMAGE, (8,)),
    "mul": ("Mul", IMAGE, (4, 1, 1)),
    "axpy": ("Axpy", (2, 4, 1, 1), IMAGE, IMAGE),
    "scale": ('Scale scale_param { bias_term: true filler { type: "uniform" } bias_filler { value: 0.5 } }', IMAGE),
    "scale_by_bottom": ("Scale scale_param { axis: 0 }", IMAGE, (2, 4)),
    "scale_by_number": ("Scale scale_param { num_axes: 0 filler { value: 3 } }", IMAGE),
    "bias": ('Bias bias_param { axis: 2 num_axes: 2 filler { type: "uniform" } }', IMAGE),
    "concat": ("Concat concat_param { axis: -2 }", IMAGE, (2, 4, 3, 8)),
    "convolution": (f"Convolution convolution_param {{ num_output: 6 kernel_size: 3 {FILLED} }}", IMAGE),
    "convolution_in_full": (
        "Convolution convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 2 "
        f"pad_w: 0 dilation: 2 group: 2 bias_term: false {FILLED} }}",
        IMAGE,
    ),
    "convolution_of_volumes": (
        f"Convolution convolution_param {{ num_output: 3 kernel_size: 2 pad: 1 {FILLED} }}",
        (1, 2, 4, 5, 6),
    ),
    "depthwise": (f"DepthwiseConvolution convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 {FILLED} }}", IMAGE),
    "deconvolution": (
        f"Deconvolution convolution_param {{ num_output: 6 kernel_size: 4 stride: 2 pad: 1 {FILLED} }}",
        IMAGE,
    ),
    "deconvolution_in_groups": (
        f"Deconvolution convolution_param {{ num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 2 {FILLED} }}",
        IMAGE,
    ),
    "inner_product": (f"InnerProduct inner_product_param {{ num_output: 5 {FILLED} }}", IMAGE),
    "inner_product_across": (
        f"InnerProduct inner_product_param {{ num_output: 5 axis: 2 transpose: true bias_term: false {FILLED} }}",
        IMAGE,
    ),
    "lrn": (
        "LRN lrn_param { local_size: 3 alpha: 2 beta: 0.6 k: 1.5 }",
        (4, 4, 5, 6),
    ),  # onnx's evaluator wants as many items as channels
    "lrn_within": ("LRN lrn_param { local_size: 3 alpha: 2 norm_region: WITHIN_CHANNEL k: 3 }", IMAGE),
    "mvn": ("MVN", IMAGE),
    "mvn_across": ("MVN mvn_param { across_channels: true normalize_variance: false }", IMAGE),
    "normalize": ("Normalize norm_param { across_spatial: false scale_filler { value: 20 } }", IMAGE),
    "normalize_all": ("Normalize norm_param { across_spatial: true channel_shared: true }", IMAGE),
    "softmax": ("Softmax", IMAGE),
    "softmax_last": ("Softmax softmax_param { axis: -1 }", IMAGE),
    "reduce_sum": ("Reduction reduction_param { axis: 2 coeff: 0.5 }", IMAGE),
    "reduce_asum": ("Reduction reduction_param { operation: ASUM }", IMAGE),
    "reduce_sumsq": ("Reduction reduction_param { operation: SUMSQ axis: 1 }", IMAGE),
    "reduce_mean": ("Reduction reduction_param { operation: MEAN axis: -1 coeff: 2 }", IMAGE),
    "argmax": ("ArgMax argmax_param { axis: 1 }", IMAGE),
    "argmax_of_all": ("ArgMax", IMAGE),
    "flatten": ("Flatten flatten_param { axis: 2 }", IMAGE),
    "reshape": ("Reshape reshape_param { shape { dim: 0 dim: -1 dim: 2 } }", IMAGE),
    "squeeze": ("Squeeze", (2, 1, 3, 1)),
    "permute": ("Permute permute_param { order: 0 order: 2 order: 3 order: 1 }", IMAGE),
    "shuffle": ("ShuffleChannel shuffle_channel_param { group: 2 }", IMAGE),
    "reorg": ("Reorg reorg_param { stride: 2 }", (2, 4, 6, 8)),
    "depth_to_space": ("DepthToSpace depth_to_space_param { block_size: 2 }", IMAGE),
    "flip": ("Flip flip_param { flip_width: true flip_height: true }", IMAGE),
    "crop": ("Crop crop_param { axis: 2 offset: 1 offset: 2 }", IMAGE, (2, 4, 3, 5)),
    "crop_center": ("CropCenter crop_center_param { crop_size: 0 crop_size: 0 crop_size: 1 crop_size: 2 }", IMAGE),
    "pad": ("Pad pad_param { paddings: 0 paddings: 0 paddings: 1 paddings: 2 constant_values: 0.5 }", (3, 4)),
    "tile": ("Tile tile_param { axis: 2 tiles: 3 }", IMAGE),
    "interp": ("Interp interp_param { height: 11 width: 5 }", IMAGE),
    "interp_cut": ("Interp interp_param { zoom_factor: 2 pad_beg: -1 pad_end: -2 }", IMAGE),
    "bilinear": ("ResizeBilinear resize_bilinear_param { output_height: 9 output_width: 13 }", IMAGE),
    "bilinear_centres": (
        "ResizeBilinear resize_bilinear_param { "
        'output_height: 9 output_width: 13 half_pixel_centers: true data_format: "NCHW" }',
        IMAGE,
    ),
    "nearest": (
        'ResizeNearestNeighbor resize_nearest_neighbor_param { output_height: 9 output_width: 13 data_format: "NCHW" }',
        IMAGE,
    ),
    "nearest_corners": (
        "ResizeNearestNeighbor resize_nearest_neighbor_param { align_corners: true scale_height: 2 scale_width: 3 }",
        IMAGE,
    ),
    "upsample": ("Upsample upsample_param { scale: 2 }", IMAGE),
    "upsample_darknet": ("UpsampleDarknet upsample_darknet_param { stride: 3 }", IMAGE),
}


REFERENCE_DIFFERS = {
    "deconvolution_in_groups": "onnx's evaluator has no groups in ConvTranspose",
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("case", LAYERS)
def test_a_layer(tmp_path: Path, case: str, run: Run):
    if run is by_reference and case in REFERENCE_DIFFERS:
        pytest.skip(REFERENCE_DIFFERS[case])
    layer, *shapes = LAYERS[case]
    check(make(one_layer(layer, *shapes)), tmp_path / "it.onnx", run)


POOLINGS = [
    "kernel_size: 2 stride: 2",  # 7 x 8 to 4 x 4: the last window is clipped
    "kernel_size: 3 stride: 2 pad: 1",
    "kernel_size: 3 stride: 2",
    "kernel_size: 3 stride: 3 pad: 2",  # the last window is dropped
    "kernel_h: 2 kernel_w: 4 stride_h: 3 stride_w: 1 pad_h: 1 pad_w: 0",
    "kernel_size: 1 stride: 4",
    "kernel_size: 2 stride: 5",  # of 8: 2 windows; of 7: the second ends where the image does
    "kernel_size: 1 stride: 3 round_mode: CEIL",  # of 8: a window wholly outside
    "kernel_size: 3 stride: 2 round_mode: FLOOR",
    "global_pooling: true",
]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("pool", ["MAX", "AVE"])
@pytest.mark.parametrize("window", POOLINGS)
def test_pooling_has_caffes_windows(tmp_path: Path, window: str, pool: str, run: Run):
    net = make(one_layer(f"Pooling pooling_param {{ pool: {pool} {window} }}", IMAGE))
    check(net, tmp_path / "it.onnx", run)


@pytest.mark.parametrize("run", RUNS)
def test_tops_that_are_several(tmp_path: Path, run: Run):
    for layer, tops in [
        ("Slice slice_param { axis: 1 slice_point: 1 slice_point: 3 }", 3),
        ("Slice slice_param { axis: 3 }", 2),
        ("Pooling pooling_param { kernel_size: 3 stride: 2 pad: 1 }", 2),
    ]:
        check(make(one_layer(layer, IMAGE, tops=tops)), tmp_path / "it.onnx", run)


@pytest.mark.parametrize("run", RUNS)
def test_statistics_gathered_in_training(tmp_path: Path, run: Run):
    rng = np.random.default_rng(0)
    for layer in (
        "BatchNorm batch_norm_param { eps: 0.01 }",
        "BatchNorm batch_norm_param { eps: 0.01 add_eps_before_sqrt: false }",
        "BatchNorm batch_norm_param { eps: 0.01 scale_bias: true }",
        "BN bn_param { eps: 0.01 }",
        "BN bn_param { bn_mode: INFERENCE }",
    ):
        net = make(one_layer(layer, IMAGE))
        for blob in net.params["it"]:
            blob.data[...] = rng.uniform(0.5, 2, blob.shape)
        check(net, tmp_path / "it.onnx", run)


@pytest.mark.parametrize("run", RUNS)
def test_logarithms_and_indices(tmp_path: Path, run: Run):
    positive = np.abs(noise(*IMAGE)) + 0.1
    check(make(one_layer("Log log_param { base: 10 scale: 2 shift: 1 }", IMAGE)), tmp_path / "it", run, x0=positive)
    embed = make(one_layer(f"Embed embed_param {{ input_dim: 9 num_output: 3 {FILLED} }}", (2, 5)))
    check(embed, tmp_path / "it", run, x0=np.arange(10, dtype=np.float32).reshape(2, 5) % 9)


@pytest.mark.parametrize("run", RUNS)
def test_layers_in_place_splits_and_names(tmp_path: Path, run: Run):
    model = check(make(CHAIN), tmp_path / "chain", run)
    values = [name for node in model.graph.node for name in node.output]
    assert {"conv1@conv1", "conv1", "pool1", "fc"} <= set(values)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["data", "fc"]
    fork = check(make(FORK), tmp_path / "fork", run)
    assert [value.name for value in fork.graph.input] == ["x", "unused"]
    assert [value.name for value in fork.graph.output] == ["side", "sum"]
    on_the_input = """
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "relu" type: "ReLU" bottom: "x" top: "x" }
        layer { name: "twice" type: "Power" bottom: "x" top: "x" power_param { scale: 2 } }
    """
    last = check(make(on_the_input), tmp_path / "in_place", run)
    assert [value.name for value in (*last.graph.input, *last.graph.output)] == ["x", "x@twice"]


def test_shared_weights_are_stored_once(tmp_path: Path):
    ip = 'param {{ name: "w" }} param {{ name: "b" }} inner_product_param {{ num_output: 50 {} }}'
    text = f"""
        layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 50 }} }} }}
        layer {{ name: "a" type: "InnerProduct" bottom: "x" top: "a" {ip.format(FILLED)} }}
        layer {{ name: "b" type: "InnerProduct" bottom: "a" top: "b" {ip.format("")} }}
    """
    model = check(make(text), tmp_path / "it", by_reference)
    assert sum(tuple(constant.dims) == (50, 50) for constant in model.graph.initializer) == 1


def test_the_shapes_are_those_the_net_has(tmp_path: Path):
    net = make(CHAIN)
    net.blobs["data"].reshape(5, 3, 8, 8)
    to_onnx(net, tmp_path / "it.onnx")
    (found,) = by_reference((tmp_path / "it.onnx").read_bytes(), {"data": noise(5, 3, 8, 8)})
    net.blobs["data"].data[...] = noise(5, 3, 8, 8)
    np.testing.assert_allclose(found, net.forward()["fc"], 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("SPP spp_param { pyramid_height: 2 }", r"layer 'it' \(SPP\): to_onnx: ONNX has no operators"),
        ("Pooling pooling_param { kernel_size: 2 pool: STOCHASTIC }", "STOCHASTIC has no equal"),
        ("BatchNorm batch_norm_param { use_global_stats: false }", "own mean and variance"),
        ("ArgMax argmax_param { top_k: 2 }", "top_k above 1"),
        (f"Convolution convolution_param {{ num_output: 6 kernel_size: 3 axis: 0 {FILLED} }}", "axis: 0"),
    ],
)
def test_what_onnx_cannot_express_is_named(tmp_path: Path, layer: str, message: str):
    with pytest.raises(LayerError, match=message):
        to_onnx(make(one_layer(layer, IMAGE)), tmp_path / "it.onnx")
    assert not list(tmp_path.iterdir())


def test_pooling_along_three_axes_is_named(tmp_path: Path):
    for param in ("kernel_size: 2", "global_pooling: true"):
        with pytest.raises(LayerError, match="pooling along other than two axes"):
            to_onnx(make(one_layer(f"Pooling pooling_param {{ {param} }}", (1, 2, 4, 4, 4))), tmp_path / "it.onnx")


def test_training_and_folders_that_are_not_there(tmp_path: Path):
    net = make(one_layer("Dropout", IMAGE), caffe.TRAIN)
    with pytest.raises(LayerError, match="dropping values"):
        to_onnx(net, tmp_path / "it.onnx")
    with pytest.raises(MissingFileError, match="no folder"):
        to_onnx(make(CHAIN), tmp_path / "none" / "it.onnx")


@pytest.mark.parametrize("run", RUNS[1:])
@pytest.mark.parametrize("folder", ["squeezenet-v1.1", "bvlc-googlenet", "open-nsfw-resnet50-1by2", "waifu2x-vgg7"])
def test_trained_nets(tmp_path: Path, folder: str, run: Run):
    files = shared(f"models/{folder}")
    text = next(path for path in sorted(files.glob("*.prototxt")) if "train" not in path.name)
    net = caffe.Net(
        prototxt.read(text, NetParameter), caffe.TEST, weights=next(iter(sorted(files.glob("*.caffemodel"))))
    )
    net.blobs[net.inputs[0]].reshape(1, *net.blobs[net.inputs[0]].shape[1:])
    check(net, tmp_path / "it.onnx", run, rtol=1e-3, atol=1e-4)
