"""The zoo's nets have the published numbers of weights and maps, and the names of their authors' prototxts."""

import pytest

import caffepy
from caffepy.layer import Layer
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.zoo.nets import NETS
from tests.shared import shared

WEIGHTS = {
    "alexnet": 60_965_224,
    "caffenet": 60_965_224,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "googlenet": 6_998_552,
    "inception_v3": 23_834_568,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "squeezenet_v1_0": 1_248_424,
    "squeezenet_v1_1": 1_235_496,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "densenet121": 7_978_856,
    # VGG-16's convolutions, fc6, fc7, the three score layers, two small and one large upsampling
    "fcn8s": 14_714_688 + 102_764_544 + 16_781_312 + 86_037 + 10_773 + 5_397 + 2 * 21 * 21 * 16 + 21 * 21 * 256,
    "ssd300": 26_285_486,
}
"""As their papers and the usual tables count: statistics of BatchNorm are none."""

MAPS = {
    "alexnet": {"pool5": (1, 256, 6, 6)},
    "vgg16": {"pool5": (1, 512, 7, 7)},
    "vgg19": {"conv5_4": (1, 512, 14, 14)},
    "googlenet": {"inception_4e/output": (1, 832, 14, 14), "inception_5b/output": (1, 1024, 7, 7)},
    "inception_v3": {"mixed3": (1, 288, 35, 35), "mixed8": (1, 768, 17, 17), "mixed11": (1, 2048, 8, 8)},
    "resnet18": {"res5b": (1, 512, 7, 7)},
    "resnet50": {"res2c": (1, 256, 56, 56), "res5c": (1, 2048, 7, 7)},
    "resnet101": {"res4b22": (1, 1024, 14, 14), "res5c": (1, 2048, 7, 7)},
    "squeezenet_v1_0": {"conv10": (1, 1000, 15, 15)},
    "squeezenet_v1_1": {"conv10": (1, 1000, 14, 14)},
    "mobilenet_v1": {"conv6/sep": (1, 1024, 7, 7)},
    "mobilenet_v2": {"block_7_3": (1, 160, 7, 7), "conv9": (1, 1280, 7, 7)},
    "densenet121": {"concat_4_24": (1, 1024, 14, 14), "conv5_blk/bn": (1, 1024, 7, 7)},
    "fcn8s": {"fc7": (1, 4096, 16, 16), "score": (1, 21, 500, 500)},
    "ssd300": {"fc7": (1, 1024, 19, 19), "mbox_priorbox": (1, 2, 4 * 8732), "mbox_conf": (1, 21 * 8732)},
}


@pytest.fixture(autouse=True)
def _unfilled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Layer, "fill", lambda self, index: None)


@pytest.mark.parametrize("name", NETS)
def test_weights_and_maps_are_the_published_ones(name: str) -> None:
    with caffepy.Net(NETS[name](), caffepy.TEST) as net:
        counted = [layer for layer in net.layers if layer.type != "BatchNorm"]
        assert sum(blob.count for layer in counted for blob in layer.blobs) == WEIGHTS[name]
        assert {blob: net.blobs[blob].shape for blob in MAPS.get(name, {})} == MAPS.get(name, {})


@pytest.mark.parametrize("name", NETS)
def test_batch_and_size_are_what_is_asked_for(name: str) -> None:
    with caffepy.Net(NETS[name](batch=2), caffepy.TEST) as net:
        assert net.blobs["data"].shape[0] == 2
        size = net.blobs["data"].shape[2]
        assert NETS[name](batch=3, size=size + 32).layer[0].input_param.shape[0].dim == [3, 3, size + 32, size + 32]


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("alexnet", "BVLC+caffe__models_bvlc_alexnet_deploy"),
        ("caffenet", "BVLC+caffe__models_bvlc_reference_caffenet_deploy"),
        ("googlenet", "BVLC+caffe__models_bvlc_googlenet_deploy"),
        ("vgg16", "soeaver+caffe-model__cls_vgg_deploy_vgg16-dsd"),
        ("vgg19", "dividiti+ck-caffe__package_caffemodel-vgg19_deploy"),
        ("squeezenet_v1_1", "chaosmail+caffejs__docs_assets_models_squeezenet_deploy"),
        ("mobilenet_v1", "shicai+MobileNet-Caffe__mobilenet_deploy"),
    ],
)
def test_blobs_are_those_of_the_published_prototxt(name: str, published: str) -> None:
    text = shared(f"prototxt/{published}.prototxt").read_text("utf-8")
    definition = prototxt.parse(text.replace("$#batch_size#$", "1"), NetParameter)
    with caffepy.Net(definition, caffepy.TEST) as other, caffepy.Net(NETS[name](), caffepy.TEST) as net:
        expected = {blob: (1, *found.shape[1:]) for blob, found in other.blobs.items()}
        assert {blob: found.shape for blob, found in net.blobs.items()} == expected
        theirs = {layer: [blob.shape for blob in blobs] for layer, blobs in other.params.items()}
        assert {layer: [blob.shape for blob in blobs] for layer, blobs in net.params.items()} == theirs


@pytest.mark.parametrize(
    ("name", "published", "label", "without"),
    [
        ("squeezenet_v1_0", "DeepScale+SqueezeNet__SqueezeNet_v1.0_train_val", (1,), {"prob"}),
        ("fcn8s", "shelhamer+fcn.berkeleyvision.org__voc-fcn8s-atonce_val", (1, 1, 500, 500), set()),
    ],
)
def test_blobs_are_those_of_the_published_training_prototxt(
    name: str, published: str, label: tuple[int, ...], without: set[str]
) -> None:
    """Which has layers that read databases instead of inputs, and a loss instead of probabilities."""
    definition = prototxt.parse(shared(f"prototxt/{published}.prototxt").read_text("utf-8"), NetParameter)
    with caffepy.Net(NETS[name](), caffepy.TEST) as net:
        layers = [layer for layer in definition.layer if layer.type not in ("Data", "Python")]
        del definition.layer[:]
        for blob, shape in (("data", net.blobs["data"].shape), ("label", label)):
            added = definition.layer.add(name=blob, type="Input", top=[blob])
            added.input_param.shape.add(dim=shape)
        definition.layer.extend(layers)
        with caffepy.Net(definition, caffepy.TEST) as other:
            ours = {blob: found.shape for blob, found in net.blobs.items() if "_split_" not in blob}
            theirs = {blob: found.shape for blob, found in other.blobs.items()}
            assert {blob: theirs.get(blob) for blob in ours if blob not in without} == {
                blob: shape for blob, shape in ours.items() if blob not in without
            }
            weights = {layer: [blob.shape for blob in blobs] for layer, blobs in net.params.items()}
            assert {layer: [blob.shape for blob in other.params[layer]] for layer in weights} == weights


def test_inception_v3_has_the_weights_of_a_published_prototxt() -> None:
    """Whose names are others."""
    path = shared("prototxt/soeaver+caffe-model__cls_inception_deploy_inception-v3.prototxt")
    published = prototxt.parse(path.read_text("utf-8"), NetParameter)
    with caffepy.Net(published, caffepy.TEST) as other, caffepy.Net(NETS["inception_v3"](), caffepy.TEST) as net:
        found, expected = (
            sorted(blob.shape for blobs in each.params.values() for blob in blobs) for each in (net, other)
        )
        assert found == expected
