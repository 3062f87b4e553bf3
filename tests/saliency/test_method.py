"""What all methods have in common: images, targets, results, and what is said of wrong ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffepy as caffe
from caffepy import saliency
from caffepy.errors import ArgumentError, MissingFileError, UnknownBlobError, UnknownLayerError
from caffepy.saliency import Box, Position, Preprocess, Region, Top, Unit
from tests.nets import FORK, make, noise
from tests.saliency.methods.cases import CLASSES, IMAGES, close, mixed, slow_gradient
from tests.saliency.nets import CLASSIFIER, DENSE, POOLED

PICTURE = np.random.default_rng(0).random((9, 8, 3)).astype(np.float32)
LABELS = ["tench", "goldfish", "great white shark", "tiger shark", "hammerhead", "tabby, tabby cat"]


def dense(target: Any, **options: Any) -> saliency.Saliency:
    net = make(DENSE)
    return saliency.gradient(net, noise(1, 3, 5, 4), target, **options)


# ---- images


@pytest.mark.parametrize("kind", ["floats", "bytes", "file", "pillow", "list", "transformer"])
def test_pictures_go_through_the_preprocessing(kind: str, tmp_path: Path) -> None:
    net = mixed()
    net.preprocess = Preprocess(mean=(1, 2, 3))
    pixels = (PICTURE * 255).astype(np.uint8)
    image: Any = {"floats": pixels / 255, "bytes": pixels, "pillow": Image.fromarray(pixels)}.get(kind)
    if kind == "file":
        image = tmp_path / "a.png"
        Image.fromarray(pixels).save(image)
    elif kind == "list":
        image = [pixels, pixels / 255]
    elif kind == "transformer":
        image, net.preprocess = pixels / 255, caffe.io.Transformer({"data": (1, 3, 9, 8)})
        net.preprocess.set_transpose("data", (2, 0, 1))
        net.preprocess.set_channel_swap("data", (2, 1, 0))
        net.preprocess.set_raw_scale("data", 255)
        net.preprocess.set_mean("data", np.float32([1, 2, 3]))
    found = saliency.gradient(net, image, 3)
    right = pixels.transpose(2, 0, 1)[::-1] - np.float32([1, 2, 3])[:, None, None]
    assert len(found) == (2 if kind == "list" else 1)
    for one in found.images:
        np.testing.assert_allclose(one, right, atol=1e-3)


def test_what_the_net_takes_is_taken_as_it_is() -> None:
    for image in (IMAGES[0], IMAGES[:1], IMAGES[0].tolist()):
        found = saliency.gradient(mixed(), np.asarray(image), 3)
        np.testing.assert_array_equal(found.images, IMAGES[:1])


def test_the_nets_input_has_its_shape_again() -> None:
    net = mixed()
    for image in (IMAGES[:1], np.concatenate([IMAGES] * 4)):
        saliency.gradient(net, image, 3)
        assert net.blobs["data"].shape == (2, 3, 9, 8)
    net.forward(data=IMAGES)


def test_images_of_another_size_where_the_net_takes_them() -> None:
    net = make(DENSE)
    assert saliency.gradient(net, noise(1, 3, 9, 11), Position(2, 0, 0)).array.shape == (1, 3, 9, 11)
    with pytest.raises(caffe.errors.LayerError, match="fc"):
        saliency.gradient(make(CLASSIFIER), noise(1, 3, 9, 11), 2)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (noise(1, 4, 9, 8), r"the images are \(1, 4, 9, 8\), the net takes \(N, 3, 9, 8\)"),
        (noise(9, 8, 2), r"shape \(9, 8, 2\) is neither the net's"),
        (np.full((1, 3, 9, 8), np.nan), "216 values that are not finite"),
        (np.array(["a"]), "array of numbers or a file's name"),
        (noise(3), "is neither the net's"),
    ],
)
def test_wrong_images(image: np.ndarray, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        saliency.gradient(mixed(), image, 3)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.png"):
        saliency.gradient(mixed(), "nowhere.png")


# ---- targets


def test_targets_by_index_name_and_top() -> None:
    net = mixed()
    net.labels = LABELS
    by_index = saliency.gradient(net, IMAGES, 5)
    assert by_index.target == ("tabby, tabby cat",) * 2
    for target in ("tabby", "Tabby cat", np.int64(5), [5, "tabby"]):
        np.testing.assert_array_equal(saliency.gradient(net, IMAGES, target).numpy(), by_index.numpy())
    best = saliency.gradient(net, IMAGES)
    net.forward(data=IMAGES)
    assert best.classes == tuple(net.blobs["fc"].data.argmax(axis=1))
    np.testing.assert_allclose(best.score, net.blobs["fc"].data.max(axis=1), rtol=1e-5)


def test_several_targets_of_one_image_share_its_forward_pass() -> None:
    net, passes, gradient = mixed(), [], slow_gradient(mixed())
    net.blobs["data"].reshape(1, 3, 9, 8)
    net.after_forward(passes.append)
    found = saliency.gradient(net, IMAGES[:1], [0, 4, 2])
    assert passes.count(1) == 1
    close(found, np.stack([gradient(IMAGES[0], c) for c in (0, 4, 2)]))
    ranked = saliency.gradient(net, IMAGES[:1], Top(3))
    assert list(ranked.score) == sorted(ranked.score, reverse=True)
    assert len(ranked) == 3
    np.testing.assert_array_equal(saliency.smoothgrad(net, IMAGES[:1], [0, 4], samples=2).array.shape, (2, 3, 9, 8))


def test_a_value_of_a_blob_and_a_part_of_it() -> None:
    net = mixed()
    whole = saliency.gradient(net, IMAGES, Unit("fc", 3)).numpy()
    np.testing.assert_array_equal(whole, saliency.gradient(net, IMAGES, 3).numpy())
    one, channel = saliency.gradient(net, IMAGES, Unit("pool1", 2, 1, 0)), saliency.gradient(net, IMAGES, Unit("b", 2))
    net.forward(data=IMAGES)
    np.testing.assert_allclose(one.score, net.blobs["pool1"].data[:, 2, 1, 0], rtol=1e-5)
    np.testing.assert_allclose(channel.score, net.blobs["b"].data[:, 2].sum(axis=(1, 2)), rtol=1e-4)


def test_positions_and_regions() -> None:
    weights = make(DENSE).params["score"][0].data
    found = dense(Position(2, 1, 0), layer=("conv", "tanh"))
    expected = np.zeros((1, 4, 5, 4))
    expected[0, :, 1:3, 0:2] = weights[2]
    close(found, expected)
    mask = np.zeros((8, 6), bool)
    mask[2:4, 0:2] = True  # the same place of the output, 4 x 3
    np.testing.assert_allclose(dense(Region(2, mask), layer=("conv", "tanh")).numpy(), expected, atol=1e-6)
    net = make(DENSE)
    net.forward(data=noise(2, 3, 5, 4))
    won = net.blobs["score"].data[:1].argmax(axis=1)[0]
    winner = int(np.bincount(won.ravel()).argmax())
    everywhere = dense(Region(winner))
    np.testing.assert_allclose(
        everywhere.score, net.blobs["score"].data[0, winner][won == winner].sum(), rtol=1e-4, atol=1e-5
    )


def test_a_function_of_the_net() -> None:
    def halves(net: caffe.Net) -> dict[str, np.ndarray]:
        return {"fc": net.blobs["fc"].data / 2}

    found = saliency.gradient(mixed(), IMAGES, halves)
    net = mixed()
    net.forward(data=IMAGES)
    right = net.gradient({"fc": net.blobs["fc"].data / 2}, "data")["data"]
    np.testing.assert_allclose(found.numpy(), right, rtol=1e-5)
    assert saliency.smoothgrad(mixed(), IMAGES, halves, samples=3).array.shape == IMAGES.shape


def test_the_probability_and_the_score_before_it() -> None:
    net = mixed()
    score, probability = (saliency.gradient(net, IMAGES, 3, before_softmax=before) for before in (True, False))
    net.forward(data=IMAGES)
    np.testing.assert_allclose(score.score, net.blobs["fc"].data[:, 3], rtol=1e-5)
    np.testing.assert_allclose(probability.score, net.blobs["prob"].data[:, 3], rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (6, "target 6 is out of range: the net has 6 classes"),
        (-1, "target -1 is out of range"),
        ("tabbi", "no label matches 'tabbi'.*did you mean 'tabby'"),
        ("shark", "2 labels match 'shark': 2 'great white shark', 3 'tiger shark'"),
        (1.5, "target is 1.5; expected a class index"),
        (True, "target is True"),
        ([1, 2, 3], r"3 targets for a batch of 2 image\(s\)"),
        (Top(9), "top 9 of 6 classes"),
        (Unit("fc", 6), r"\(6,\) is outside blob 'fc', which has shape \(2, 6\)"),
        (Region(1), "a region needs an output"),
        (Box(0), "no DetectionOutput layer"),
        (lambda net: 3, "returns diffs by blob, got int"),
    ],
)
def test_wrong_targets(target: Any, message: str) -> None:
    net = mixed()
    net.labels = LABELS
    with pytest.raises(ArgumentError, match=message):
        saliency.gradient(net, IMAGES, target)


def test_names_without_labels() -> None:
    with pytest.raises(ArgumentError, match=r"set net\.labels"):
        saliency.gradient(mixed(), IMAGES, "tabby")


# ---- nets


def test_force_backward_is_not_needed_and_no_diff_is_touched() -> None:
    net = mixed()
    for blob in net.blobs.values():
        blob.diff[...] = 7
    for name, method in saliency.METHODS.items():
        if name not in ("rise", "occlusion", "score-cam", "ablation-cam", "extremal-perturbation"):
            method(net, IMAGES, 3)
    assert all((blob.diff.ravel()[: blob.count] == 7).all() for blob in net.blobs.values())


def test_layers_that_do_not_exist() -> None:
    with pytest.raises(UnknownBlobError, match="no blob 'pol1'; did you mean 'pool1'"):
        saliency.gradient(mixed(), IMAGES, 3, layer="pol1")
    with pytest.raises(UnknownBlobError, match="no blob 'pol1'"):
        saliency.grad_cam(mixed(), IMAGES, 3, layer="pol1")
    with pytest.raises(UnknownLayerError, match="no layer 'rel1'"):
        saliency.gradient(mixed(), IMAGES, 3, layer=("pool1", "rel1"))
    with pytest.raises(UnknownBlobError, match="no blob 'fd'"):
        saliency.gradient(mixed(), IMAGES, 3, output="fd")


def test_nan_in_weights_is_found() -> None:
    net = mixed()
    net.params["a"][0].data[0, 0, 0, 0] = np.nan
    with pytest.raises(ArgumentError, match=r"weights 0 of layer 'a' \(Convolution\) hold values that are not finite"):
        saliency.gradient(net, IMAGES, 3)


def test_a_net_that_makes_its_own_data() -> None:
    net = make("""
        layer { name: "noise" type: "DummyData" top: "data" dummy_data_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } } }
        layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 2 } }
    """)
    with pytest.raises(ArgumentError, match=r"from layer 'noise' \(DummyData\); build it from its deploy.prototxt"):
        saliency.gradient(net, noise(2, 3, 5, 4), 0)


def test_inputs_that_are_no_images() -> None:
    with pytest.raises(ArgumentError, match=r"input 'x' has shape \(2, 3\)"):
        saliency.gradient(make(FORK), noise(2, 3), 0, input="x")
    with pytest.raises(ArgumentError, match="one input, found 'x', 'unused'"):
        saliency.gradient(make(FORK), noise(2, 3), 0)


def test_a_weight_edited_between_two_calls_counts() -> None:
    net = make(POOLED)
    before = saliency.gradient(net, noise(2, 3, 5, 4), 1).numpy()
    net.params["score"][0].data[...] *= 2
    np.testing.assert_allclose(saliency.gradient(net, noise(2, 3, 5, 4), 1).numpy(), 2 * before, rtol=1e-5)


# ---- results


def test_the_result_says_what_it_is(tmp_path: Path) -> None:
    found = saliency.integrated_gradients(mixed(), IMAGES, CLASSES, steps=3)
    assert (found.method, found.target, found.classes) == ("integrated-gradients", ("class 1", "class 4"), (1, 4))
    assert found.parameters == {"steps": 3}
    assert found.signed
    assert "integrated-gradients" in repr(found)
    np.testing.assert_array_equal(np.asarray(found), found.numpy())
    np.testing.assert_allclose(found.maps(), found.numpy().sum(axis=1), rtol=1e-5)
    assert found.upsampled().shape == (2, 9, 8)
    assert found.overlay(1, longest=90).shape == (90, 80, 3)
    assert found._repr_png_()[1:4] == b"PNG"
    found.save(tmp_path / "a.png", longest=90)
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 3 * 80 + 4 * 10


def test_a_signed_map_is_blue_and_red_around_white() -> None:
    colours = saliency.pictures.diverging(np.array([-1, 0, 1]))
    assert tuple(colours[1]) == (255, 255, 255)
    assert colours[0][2] > colours[0][0]
    assert colours[2][0] > colours[2][2]
    normal = saliency.pictures.normalize_signed(np.array([[-2, 0, 1]]), percentile=100)
    np.testing.assert_allclose(normal, [[-1, 0, 0.5]])


def test_names_of_methods() -> None:
    assert saliency.named("Grad_CAM") is saliency.grad_cam
    with pytest.raises(ArgumentError, match="no method 'grad-kam'; did you mean 'grad-cam'"):
        saliency.named("grad-kam")


ONE_PASS = ["gradient", "guided-backprop", "input-x-gradient", "lrp", "grad-cam", "full-gradient", "guided-grad-cam"]


@pytest.mark.parametrize("method", ONE_PASS)
def test_one_forward_pass_is_enough(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one_pass(method, monkeypatch)


@pytest.mark.parametrize("method", ["gradient", "grad-cam", "lrp"])
def test_one_forward_pass_is_enough_on_a_gpu(method: str, gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one_pass(method, monkeypatch)


def one_pass(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For two images and three targets."""
    net, seen = mixed(), []
    run = net.forward_from_to
    monkeypatch.setattr(net, "forward_from_to", lambda *given: (seen.append(given), run(*given))[1])
    saliency.METHODS[method](net, IMAGES, Top(3))
    assert len(seen) == 1
