"""Old nets and solvers made current; the expected nets are written by hand from Caffe's upgrade_proto.cpp."""

import csv
from pathlib import Path

import pytest

from caffepy.errors import ProtoError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter, SolverParameter, V1LayerParameter
from caffepy.proto.upgrade import upgrade_net, upgrade_solver
from tests.shared import shared

V1_TYPES = """
    ABSVAL AbsVal, ACCURACY Accuracy, ARGMAX ArgMax, BNLL BNLL, CONCAT Concat, CONTRASTIVE_LOSS ContrastiveLoss,
    CONVOLUTION Convolution, DATA Data, DECONVOLUTION Deconvolution, DROPOUT Dropout, DUMMY_DATA DummyData,
    EUCLIDEAN_LOSS EuclideanLoss, ELTWISE Eltwise, EXP Exp, FLATTEN Flatten, HDF5_DATA HDF5Data,
    HDF5_OUTPUT HDF5Output, HINGE_LOSS HingeLoss, IM2COL Im2col, IMAGE_DATA ImageData, INFOGAIN_LOSS InfogainLoss,
    INNER_PRODUCT InnerProduct, LRN LRN, MEMORY_DATA MemoryData, MULTINOMIAL_LOGISTIC_LOSS MultinomialLogisticLoss,
    MVN MVN, POOLING Pooling, POWER Power, RELU ReLU, SIGMOID Sigmoid,
    SIGMOID_CROSS_ENTROPY_LOSS SigmoidCrossEntropyLoss, SILENCE Silence, SOFTMAX Softmax,
    SOFTMAX_LOSS SoftmaxWithLoss, SPLIT Split, SLICE Slice, TANH TanH, WINDOW_DATA WindowData, THRESHOLD Threshold,
    BN BN, CROP Crop, ELTWISE_ACCURACY Accuracy, IMAGE_SEG_DATA ImageSegData,
    MULTI_STAGE_MEANFIELD MultiStageMeanfield, SIGMOID_LOSS SigmoidLoss, UNPOOLING Unpooling,
    WINDOW_SEG_DATA WindowSegData, BATCH_NORM BatchNorm, INSANITY Insanity, INTERP Interp, LSTM LSTM,
    LSTM_UNIT LSTMUnit, NORMALIZE Normalize, PRELU PReLU, RESHAPE Reshape, ROIPOOLING ROIPooling,
    SEG_ACCURACY SegAccuracy, SMOOTH_L1_LOSS SmoothL1Loss, SPP SPP, CONVOLUTION3D Convolution,
    DECONVOLUTION3D Deconvolution, POOLING3D Pooling, VIDEO_DATA VideoData, VOLUME_DATA VolumeData,
    VIDEO_SEGMENTATION_DATA VideoSegmentationData, VIDEO_WITH_VOXEL_TRUTH_DATA VideoWithVoxelTruthData,
    VOXEL_SOFTMAX Softmax, VOXEL_SOFTMAX_LOSS VoxelSoftmaxLoss, ELTWISE_PRODUCT Eltwise
"""


def net(text: str) -> NetParameter:
    return prototxt.parse(text, NetParameter)


def upgraded(text: str) -> NetParameter:
    param = net(text)
    assert upgrade_net(param)
    assert upgrade_net(param) == []
    return param


def test_a_current_net_is_left_alone() -> None:
    text = 'name: "n" force_backward: true layer { name: "data" type: "Data" data_param { scale: 2 } }'
    param = net(text)
    assert upgrade_net(param) == []
    assert param == net(text)


def test_every_v1_type_has_its_name() -> None:
    types = dict(pair.split() for pair in V1_TYPES.split(","))
    assert set(types) == set(V1LayerParameter.LayerType.keys()) - {"NONE"}
    for old, new in types.items():
        assert upgraded(f"layers {{ type: {old} }}").layer[0].type == new
    assert upgraded("layers { type: NONE }").layer[0].type == ""
    assert not upgraded('layers { name: "x" }').layer[0].HasField("type")


def test_v1_layer() -> None:
    assert upgraded(
        """name: "n"
        layers {
          name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" include { phase: TRAIN } exclude { stage: "s" }
          blobs { num: 1 data: 5 } loss_weight: 0.5
          blobs_lr: 1 blobs_lr: 2 weight_decay: 3 param: "w" blob_share_mode: PERMISSIVE blob_share_mode: STRICT
          convolution_param { num_output: 3 kernel_size: 5 }
        }"""
    ) == net(
        """name: "n"
        layer {
          name: "conv1" type: "Convolution" bottom: "data" top: "conv1" include { phase: TRAIN } exclude { stage: "s" }
          blobs { num: 1 data: 5 } loss_weight: 0.5
          param { name: "w" share_mode: PERMISSIVE lr_mult: 1 decay_mult: 3 } param { share_mode: STRICT lr_mult: 2 }
          convolution_param { num_output: 3 kernel_size: 5 }
        }"""
    )


def test_every_v1_setting_is_kept() -> None:
    current = NetParameter().layer.add().DESCRIPTOR.fields_by_name
    for field in V1LayerParameter.DESCRIPTOR.fields:
        if field.message_type and field.name != "layer" and field.name in current:
            param = NetParameter()
            values = getattr(param.layers.add(), field.name)
            values.add() if hasattr(values, "add") else values.SetInParent()
            upgrade_net(param)
            assert [inner.name for inner, _ in param.layer[0].ListFields()] == [field.name]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("DATA", "data_param"), ("IMAGE_DATA", "image_data_param"), ("WINDOW_DATA", "window_data_param")],
)
def test_transformation_moves_out_of_v1_data_layers(kind: str, settings: str) -> None:
    (layer,) = upgraded(
        f'layers {{ type: {kind} {settings} {{ source: "s" scale: 0.5 mean_file: "m" crop_size: 9 mirror: true }} }}'
    ).layer
    (expected,) = net(
        f'layer {{ {settings} {{ source: "s" }} '
        'transform_param { scale: 0.5 mean_file: "m" crop_size: 9 mirror: true } }'
    ).layer
    expected.type = layer.type
    assert layer == expected


V0 = """
name: "v0"
input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
layers {
  layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 5 stride: 2 group: 1 biasterm: false
          weight_filler { type: "gaussian" std: 0.01 } bias_filler { value: 1 }
          blobs_lr: 1. blobs_lr: 2. weight_decay: 1. weight_decay: 0. blobs { data: 7 } }
  bottom: "pad1" top: "conv1"
}
layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2 pad: 1 } bottom: "conv1" top: "pool1" }
layers { layer { name: "norm1" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.5 k: 2 } bottom: "pool1" top: "norm1" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.2 } bottom: "norm1" top: "norm1" }
layers { layer { name: "cat" type: "concat" concat_dim: 0 } bottom: "norm1" bottom: "pool1" top: "cat" }
layers { layer { name: "fc" type: "innerproduct" num_output: 9 biasterm: true } bottom: "cat" top: "fc" }
layers { layer { name: "loss" type: "softmax_loss" } bottom: "fc" bottom: "data" }
"""
V0_CURRENT = """
name: "v0"
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1" blobs { data: 7 }
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 5 stride: 2 group: 1 bias_term: false pad: 2
                      weight_filler { type: "gaussian" std: 0.01 } bias_filler { value: 1 } }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" lrn_param { local_size: 3 alpha: 0.1 beta: 0.5 k: 2 } }
layer { name: "drop" type: "Dropout" bottom: "norm1" top: "norm1" dropout_param { dropout_ratio: 0.2 } }
layer { name: "cat" type: "Concat" bottom: "norm1" bottom: "pool1" top: "cat" concat_param { concat_dim: 0 } }
layer { name: "fc" type: "InnerProduct" bottom: "cat" top: "fc" inner_product_param { num_output: 9 bias_term: true } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "data" }
"""
V0_DATA = """
layers { layer { name: "a" type: "data" source: "db" batchsize: 2 scale: 0.5 meanfile: "m" cropsize: 7 mirror: true
                 rand_skip: 3 } top: "a" }
layers { layer { name: "b" type: "images" source: "list" batchsize: 3 shuffle_images: true new_height: 4
                 new_width: 5 } }
layers { layer { name: "c" type: "window_data" source: "w" det_fg_threshold: 0.1 det_bg_threshold: 0.2
                 det_fg_fraction: 0.3 det_context_pad: 4 det_crop_mode: "square" } }
layers { layer { name: "d" type: "hdf5_data" source: "h" batchsize: 5 } }
layers { layer { name: "e" type: "hdf5_output" hdf5_output_param { file_name: "o" } } }
layers { layer { name: "f" type: "infogain_loss" source: "H" } }
"""
V0_DATA_CURRENT = """
layer { name: "a" type: "Data" top: "a" data_param { source: "db" batch_size: 2 rand_skip: 3 }
        transform_param { scale: 0.5 mean_file: "m" crop_size: 7 mirror: true } }
layer { name: "b" type: "ImageData"
        image_data_param { source: "list" batch_size: 3 shuffle: true new_height: 4 new_width: 5 } }
layer { name: "c" type: "WindowData" window_data_param { source: "w" fg_threshold: 0.1 bg_threshold: 0.2
        fg_fraction: 0.3 context_pad: 4 crop_mode: "square" } }
layer { name: "d" type: "HDF5Data" hdf5_data_param { source: "h" batch_size: 5 } }
layer { name: "e" type: "HDF5Output" hdf5_output_param { file_name: "o" } }
layer { name: "f" type: "InfogainLoss" infogain_loss_param { source: "H" } }
"""


@pytest.mark.parametrize(("old", "current"), [(V0, V0_CURRENT), (V0_DATA, V0_DATA_CURRENT)], ids=["net", "data layers"])
def test_v0_net(old: str, current: str) -> None:
    assert upgraded(old) == net(current)


def test_a_v0_setting_without_meaning_is_dropped_and_told() -> None:
    param = net('layers { layer { name: "r" type: "relu" kernelsize: 3 } }')
    assert "layer 'r': kernelsize has no meaning for type 'relu' and is dropped" in upgrade_net(param)
    assert param == net('layer { name: "r" type: "ReLU" }')


def test_padding_reaches_every_layer_that_reads_it() -> None:
    param = upgraded(
        """input: "x"
        layers { layer { name: "p" type: "padding" pad: 3 } bottom: "x" top: "p" }
        layers { layer { name: "a" type: "conv" pad: 1 } bottom: "p" top: "a" }
        layers { layer { name: "b" type: "pool" } bottom: "p" top: "b" }"""
    )
    assert [(layer.bottom[0], layer.top[0]) for layer in param.layer] == [("x", "a"), ("x", "b")]
    assert list(param.layer[0].convolution_param.pad) == [3]
    assert param.layer[1].pooling_param.pad == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('layers { layer { name: "a" type: "convv" } }', "layer 'a': V0 has no type 'convv'; did you mean 'conv'?"),
        ('layers { layer { name: "a" type: "zzz" } }', "layer 'a': V0 has no type 'zzz'; it has accuracy, bnll"),
        (
            'layers { layer { name: "a" type: "relu" } bottom: "x" }',
            "layer 'a': no layer before it makes its bottom 'x'",
        ),
        (
            'input: "x" layers { layer { name: "p" type: "padding" } bottom: "x" top: "p" }'
            'layers { layer { name: "a" type: "relu" } bottom: "p" }',
            "layer 'a' (V0 relu): padding layer 'p' can only come before a conv or pool layer with one bottom",
        ),
        (
            'input: "x" layers { layer { name: "p" type: "padding" } bottom: "x" top: "p" }'
            'layers { layer { name: "a" type: "conv" } bottom: "p" bottom: "x" }',
            "layer 'a' (V0 conv): padding layer 'p' can only come before a conv or pool layer with one bottom",
        ),
        (
            'input: "x" layers { layer { name: "p" type: "padding" } bottom: "x" bottom: "x" top: "p" }'
            'layers { layer { name: "a" type: "conv" } bottom: "p" }',
            "padding layer 'p' must have one bottom and one top",
        ),
        (
            'layer { name: "a" } layers { name: "b" }',
            "both `layer` ('a', ...) and `layers` ('b', ...): Caffe would drop every `layer`; write all of them as",
        ),
        (
            'input: "x" input: "y" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4',
            "2 input (x, y) and 1 groups of 4",
        ),
        ('input: "x" input_dim: 1 input_dim: 2', "1 input (x) and 0 groups of 4 input_dim"),
        (
            'layer { name: "c" type: "Convolution" convolution_param { kernel_size: 3 kernel_shape { dim: -1 } } }',
            "an old setting does not fit the field that has its place today",
        ),
        ('input: "x" input: "y" input_shape { dim: 1 }', "2 input (x, y) and 1 input_shape; give one each"),
    ],
)
def test_what_cannot_be_upgraded(text: str, says: str) -> None:
    with pytest.raises(ProtoError) as caught:
        upgrade_net(net(text))
    assert says in str(caught.value)


def test_inputs_become_one_layer_before_all_others() -> None:
    expected = net(
        """layer { name: "input" type: "Input" top: "a" top: "b"
                   input_param { shape { dim: 1 dim: 2 dim: 3 dim: 4 } shape { dim: 5 dim: 6 dim: 7 dim: 8 } } }
        layer { name: "x" bottom: "a" }"""
    )
    dims = " ".join(f"input_dim: {n}" for n in range(1, 9))
    assert upgraded(f'input: "a" input: "b" {dims} layer {{ name: "x" bottom: "a" }}') == expected
    shapes = "input_shape { dim: 1 dim: 2 dim: 3 dim: 4 } input_shape { dim: 5 dim: 6 dim: 7 dim: 8 }"
    assert upgraded(f'input: "a" {shapes} input: "b" layer {{ name: "x" bottom: "a" }}') == expected


def test_input_shape_counts_before_input_dim() -> None:
    (layer,) = upgraded('input: "a" input_shape { dim: 5 dim: 6 } input_dim: 1').layer
    assert list(layer.input_param.shape[0].dim) == [5, 6]


def test_an_input_without_dimensions_only_goes() -> None:
    assert upgraded('input: "data" layer { name: "x" bottom: "data" }') == net('layer { name: "x" bottom: "data" }')


def test_batch_norm_statistics_are_never_trained() -> None:
    bn = 'layer { name: "bn" type: "BatchNorm" %s }'
    assert upgraded(bn % 'param { name: "m" lr_mult: 0 } param { lr_mult: 1 decay_mult: 1 } param { }') == net(
        bn % ('param { name: "m" lr_mult: 0 decay_mult: 0 }' + 2 * "param { lr_mult: 0 decay_mult: 0 }")
    )
    for untouched in (bn % (2 * "param { lr_mult: 1 }"), (bn % (3 * "param { }")).replace("BatchNorm", "Scale")):
        assert upgrade_net(net(untouched)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SGD", "SGD"),
        ("NESTEROV", "Nesterov"),
        ("ADAGRAD", "AdaGrad"),
        ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"),
        ("ADAM", "Adam"),
    ],
)
def test_solver_type(old: str, new: str) -> None:
    solver = prototxt.parse(f"solver_type: {old} base_lr: 1", SolverParameter)
    assert upgrade_solver(solver) == [f"solver_type: {old} upgraded to type: {new!r}"]
    assert solver == prototxt.parse(f'type: "{new}" base_lr: 1', SolverParameter)
    assert upgrade_solver(solver) == []


def test_a_solver_with_both_types_is_refused() -> None:
    with pytest.raises(ProtoError, match=r"both solver_type \(ADAM\) and type \('SGD'\); remove solver_type"):
        upgrade_solver(prototxt.parse('solver_type: ADAM type: "SGD"', SolverParameter))


def test_nets_inside_a_solver_are_upgraded() -> None:
    old = "{ layers { type: DATA } }"
    solver = prototxt.parse(f"net_param {old} train_net_param {old} test_net_param {old}", SolverParameter)
    assert len(upgrade_solver(solver)) == 3
    for param in (solver.net_param, solver.train_net_param, solver.test_net_param[0]):
        assert param == net('layer { type: "Data" }')


REFUSED = {
    "BVLC+caffe__examples_cifar10_cifar10_full.prototxt": "PoolingParameter has no field 'norm_region'",  # of 2014
    "chuanqi305+MobileNet-SSD__template_MobileNetSSD_deploy_template.prototxt": "couldn't parse integer: cls3x",
    "cwlacewe+netscope__presets_vgg-16.prototxt": "has both `layer` ('data', ...) and `layers` ('conv1_1', ...)",
    "dividiti+ck-caffe__package_caffemodel-inception-v3_deploy.prototxt": "couldn't parse integer: $",
    "dividiti+ck-caffe__package_caffemodel-vgg19_deploy.prototxt": "couldn't parse integer: $",
}
"""The files in the wild that are refused: Caffe refuses them too, or drops a part of them."""


def test_prototxts_in_the_wild() -> None:
    manifest = shared("prototxt/MANIFEST.tsv")
    refused = {}
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        path: Path = manifest.parent / row["file"]
        try:
            if row["kind"] == "solver":
                upgrade_solver(prototxt.read(path, SolverParameter))
            else:
                param = prototxt.read(path, NetParameter)
                upgrade_net(param)
                assert param.layer
                assert not param.layers
                assert not param.input
        except ProtoError as error:
            refused[row["file"].removeprefix("v1hist__")] = str(error)
    assert len(rows) == 200
    assert set(refused) == set(REFUSED)
    assert all(REFUSED[name] in text for name, text in refused.items())
