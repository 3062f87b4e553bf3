"""caffepy.dnn against OpenCV 4 where it can be imported, and against facts by hand."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from caffepy import device, dnn
from caffepy.errors import ArgumentError, DeviceError, StateError, UnknownBlobError, UnknownLayerError
from tests.gpu_mode import running
from tests.nets import make, noise
from tests.shared import shared

TWO_WAYS = """
input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "left" type: "InnerProduct" bottom: "conv1" top: "left_top"
        inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "pool" type: "Pooling" bottom: "conv1" top: "pool" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "prob" type: "Softmax" bottom: "left_top" top: "prob" }
"""
"""data -> conv1, relu1 in place -> left -> prob; conv1 -> pool: conv1 has two consumers."""


@pytest.fixture(scope="module")
def cv2() -> ModuleType:
    module: ModuleType = pytest.importorskip("cv2", reason='needs pip install "opencv-python-headless<5"')
    if not hasattr(module.dnn, "readNetFromCaffe") or int(module.__version__.split(".")[0]) > 4:
        pytest.skip(f"OpenCV {module.__version__} reads no Caffe models; this needs 4")
    return module


@pytest.fixture
def two_ways(tmp_path: Path) -> tuple[Path, Path]:
    """Prototxt and weights."""
    files = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    files[0].write_text(TWO_WAYS)
    make(TWO_WAYS).save(files[1])
    return files


def pixels(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape).astype(dtype)


# ---- blobs


def test_a_blob_is_mean_subtracted_then_scaled_in_the_order_of_its_channels():
    image = np.zeros((2, 3, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 10, 20, 30
    plain = dnn.blobFromImage(image, 0.5, mean=(1, 2, 3))
    assert plain.shape == (1, 3, 2, 3)
    assert plain.dtype == np.float32
    np.testing.assert_array_equal(plain[0, :, 0, 0], [4.5, 9, 13.5])
    np.testing.assert_array_equal(
        dnn.blobFromImage(image, 0.5, mean=(1, 2, 3), swapRB=True)[0, :, 1, 2], [14.5, 9, 3.5]
    )
    np.testing.assert_array_equal(dnn.blobFromImage(image, mean=5)[0, :, 0, 0], [5, 20, 30])


def test_resizing_is_linear_between_pixel_centres():
    row = np.array([[0, 100]], np.float32)
    np.testing.assert_allclose(dnn.blobFromImage(row, size=(4, 1))[0, 0, 0], [0, 25, 75, 100])
    np.testing.assert_allclose(dnn.blobFromImage(row.T, size=(1, 4))[0, 0, :, 0], [0, 25, 75, 100])
    bytes_ = np.array([[10, 20], [31, 40]], np.uint8)
    assert dnn.blobFromImage(bytes_, size=(1, 1)).item() == 25  # 25.25: bytes are rounded


def test_crop_resizes_the_shorter_side_and_cuts_out_the_centre():
    image = np.repeat(np.arange(8, dtype=np.float32)[None] * 10, 2, axis=0)  # 2 high, 8 wide
    np.testing.assert_array_equal(dnn.blobFromImage(image, size=(2, 2), crop=True)[0, 0], [[30, 40]] * 2)


def test_bytes_stay_bytes_with_ddepth_8u():
    image = pixels(4, 5, 3)
    blob = dnn.blobFromImages([image, image], ddepth=dnn.CV_8U, swapRB=True)
    assert blob.dtype == np.uint8
    np.testing.assert_array_equal(blob[1].transpose(1, 2, 0), image[..., ::-1])


def test_images_come_back_from_a_blob():
    images = [pixels(4, 5, 3), pixels(4, 5, 3)[::-1]]
    for image, back in zip(images, dnn.imagesFromBlob(dnn.blobFromImages(images)), strict=True):
        np.testing.assert_array_equal(back, image)
    assert dnn.imagesFromBlob(np.zeros((2, 1, 4, 5)))[0].shape == (4, 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dnn.blobFromImages([]), "one at least"),
        (lambda: dnn.blobFromImages([pixels(2, 2, 3), pixels(2, 2)]), "as many channels"),
        (lambda: dnn.blobFromImage(pixels(2, 2, 3), ddepth=6), "CV_32F"),
        (lambda: dnn.blobFromImage(pixels(2, 2, 3), 2.0, ddepth=dnn.CV_8U), "no scalefactor"),
        (lambda: dnn.blobFromImage(pixels(2, 2, 3), mean=(1, 2, 3, 4, 5)), "at most 4 numbers"),
        (lambda: dnn.imagesFromBlob(pixels(2, 2)), r"got shape \(2, 2\)"),
        (lambda: dnn.NMSBoxes([[0, 0, 1, 1]], [], 0.1, 0.5), "1 boxes and 0 scores"),
        (lambda: dnn.readNetFromCaffe(np.zeros(3)), "uint8"),
    ],
)
def test_wrong_arguments(call: Any, message: str):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_suppression_keeps_the_best_of_those_that_overlap():
    boxes = [[0, 0, 10, 10], [1, 1, 10, 10], [30, 30, 5, 5], [60, 0, 5, 5]]
    scores = [0.5, 0.9, 0.3, 0.1]  # the first two share 81 of 119
    np.testing.assert_array_equal(dnn.NMSBoxes(boxes, scores, 0.2, 0.4), [1, 2])
    np.testing.assert_array_equal(dnn.NMSBoxes(boxes, scores, 0.2, 0.7), [1, 0, 2])
    np.testing.assert_array_equal(dnn.NMSBoxes(boxes, scores, 0.0, 0.7, top_k=2), [1, 0])
    assert dnn.NMSBoxes(boxes, scores, 0.95, 0.4) == ()


# ---- nets


def test_layers_and_their_numbers(two_ways: tuple[Path, Path]):
    net = dnn.readNetFromCaffe(*two_ways)
    assert not net.empty()
    assert net.getLayerNames() == ("conv1", "relu1", "left", "pool", "prob")
    assert net.getUnconnectedOutLayersNames() == ("pool", "prob")
    np.testing.assert_array_equal(net.getUnconnectedOutLayers(), [4, 5])
    assert [net.getLayerNames()[i - 1] for i in net.getUnconnectedOutLayers()] == ["pool", "prob"]
    assert (net.getLayerId("left"), net.getLayerId("nothing")) == (3, -1)
    assert net.getLayer(3).name == net.getLayer("left").name == "left"
    assert [blob.shape for blob in net.getLayer(1).blobs] == [(4, 3, 3, 3), (4,)]
    assert (net.getLayer(0).name, net.getLayer("pool").type) == ("_input", "Pooling")


def test_forward_gives_the_layers_named_each_as_it_left_its_top(two_ways: tuple[Path, Path]):
    x = noise(2, 3, 8, 8)
    net, caffe_net = dnn.readNetFromCaffe(*two_ways), make(TWO_WAYS)
    net.setInput(x)
    conv1, relu1, prob, pool = net.forward(["conv1", "relu1", "prob", "pool"])
    assert conv1.min() < 0
    np.testing.assert_array_equal(relu1, np.maximum(conv1, 0))
    caffe_net.blobs["data"].reshape(*x.shape)
    expected = caffe_net.forward(data=x)
    np.testing.assert_array_equal(pool, expected["pool"])
    np.testing.assert_array_equal(prob, expected["prob"])
    np.testing.assert_array_equal(net.forward(), prob)
    np.testing.assert_array_equal(net.forward("conv1"), conv1)
    kept = prob.copy()
    net.setInput(noise(5, 3, 8, 8, seed=1), "data")  # another batch size; what was handed out stays
    assert net.forward().shape == (5, 5)
    np.testing.assert_array_equal(prob, kept)


def test_an_input_is_mean_subtracted_then_scaled(two_ways: tuple[Path, Path]):
    x = pixels(1, 3, 8, 8)
    net = dnn.readNetFromCaffe(*two_ways)
    net.setInput(x, "", 0.01, (1, 2, 3))
    found = net.forward("conv1")
    net.setInput((x - np.array([1, 2, 3], np.float32)[:, None, None]) * np.float32(0.01))
    np.testing.assert_array_equal(net.forward("conv1"), found)


def test_buffers_instead_of_paths(two_ways: tuple[Path, Path]):
    prototxt, weights = (path.read_bytes() for path in two_ways)
    outputs = []
    for sources in (two_ways, (prototxt, weights), (bytearray(prototxt), np.frombuffer(weights, np.uint8))):
        net = dnn.readNetFromCaffe(*sources)
        net.setInput(noise(1, 3, 8, 8))
        outputs.append(net.forward())
    np.testing.assert_array_equal(outputs[1], outputs[0])
    np.testing.assert_array_equal(outputs[2], outputs[0])


def test_wrong_calls_say_what_to_do(two_ways: tuple[Path, Path]):
    empty, net = dnn.Net(), dnn.readNetFromCaffe(*two_ways)
    assert empty.empty()
    for error, message, call in [
        (StateError, "readNetFromCaffe", empty.forward),
        (StateError, "readNetFromCaffe", empty.dump),
        (StateError, "call setInput first", net.forward),
        (UnknownBlobError, "no input 'dada'; did you mean 'data'", lambda: net.setInput(noise(1, 3, 8, 8), "dada")),
        (ArgumentError, "real numbers", lambda: net.setInput(np.array(["x"]))),
        (UnknownLayerError, "no layer 'conv2'", lambda: net.forward("conv2")),
        (ArgumentError, "0 to 5", lambda: net.getLayer(6)),
        (ArgumentError, "OPENCV", lambda: net.setPreferableBackend(2)),
        (ArgumentError, "DNN_TARGET_CPU", lambda: net.setPreferableTarget(1)),
    ]:
        with pytest.raises(error, match=message):
            call()


def test_targets(two_ways: tuple[Path, Path]):
    x = noise(1, 3, 8, 8)
    with running("gpu-ascending") as gpu:
        net = dnn.readNetFromCaffe(*two_ways)
        ran_on: list[str] = []
        net._net.callbacks.after_forward.append(lambda _: ran_on.append(device.current().name))
        net.setInput(x)
        outputs = [net.forward()]
        for target in (dnn.DNN_TARGET_CPU, dnn.DNN_TARGET_CUDA):
            device.set_mode_cpu()
            net.setPreferableBackend(dnn.DNN_BACKEND_CUDA)
            net.setPreferableTarget(target)
            outputs.append(net.forward())
    layers = len(ran_on) // 3
    assert ran_on == [gpu.name] * layers + ["cpu"] * layers + [gpu.name] * layers
    for output in outputs[1:]:
        np.testing.assert_allclose(output, outputs[0], 1e-4, 1e-5)


def test_without_a_gpu_the_cuda_target_is_an_error(two_ways: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    def absent(index: int) -> None:
        raise DeviceError(f"GPU {index} cannot be used")

    monkeypatch.setattr("caffepy.device.gpu", absent)
    with pytest.raises(DeviceError, match="GPU 0"):
        dnn.readNetFromCaffe(*two_ways).setPreferableTarget(dnn.DNN_TARGET_CUDA)


# ---- beside OpenCV 4


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(30, 40, 3), (57, 33, 4), (21, 21, 1), (30, 40)])
def test_blobs_are_opencvs(cv2: ModuleType, shape: tuple[int, ...], dtype: Any):
    image = pixels(*shape, dtype=dtype)
    for size in [(0, 0), (24, 24), (60, 20), (13, 50)]:
        for crop in (False, True):
            given = {"scalefactor": 0.5, "size": size, "mean": (3, 20, 100), "swapRB": shape[2:] > (1,), "crop": crop}
            found, expected = dnn.blobFromImage(image, **given), cv2.dnn.blobFromImage(image, **given)
            np.testing.assert_allclose(
                found, expected, rtol=0, atol=0 if dtype == np.uint8 else 1e-4, err_msg=str(given)
            )


def test_suppression_is_opencvs(cv2: ModuleType):
    rng = np.random.default_rng(3)
    boxes, scores = rng.uniform(0, 50, (60, 4)).round(2), rng.uniform(0, 1, 60).astype(np.float32)
    for threshold, eta, top_k in [(0.3, 1.0, 0), (0.7, 0.9, 0), (0.5, 1.0, 20)]:
        expected = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.2, threshold, eta, top_k)
        np.testing.assert_array_equal(dnn.NMSBoxes(boxes, scores, 0.2, threshold, eta, top_k), expected)


def test_a_small_net_is_opencvs(cv2: ModuleType, two_ways: tuple[Path, Path]):
    nets = [module.readNetFromCaffe(*map(str, two_ways)) for module in (dnn, cv2.dnn)]
    for of in ("getLayerNames", "getUnconnectedOutLayersNames", "empty"):
        found, expected = (getattr(net, of)() for net in nets)
        assert found == expected, of
    np.testing.assert_array_equal(*(net.getUnconnectedOutLayers() for net in nets))
    assert [nets[0].getLayerId(n) for n in ("pool", "x")] == [nets[1].getLayerId(n) for n in ("pool", "x")]
    for batch in (1, 3):
        outputs = []
        for net in nets:
            net.setInput(noise(batch, 3, 8, 8), "data")
            outputs.append((net.forward(), *net.forward(["pool", "conv1", "left"])))
        for found, expected in zip(*outputs, strict=True):
            np.testing.assert_allclose(found, expected, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("folder", "size", "mean"),
    [("squeezenet-v1.1", (227, 227), (104, 117, 123)), ("res10-ssd-face", (300, 300), (104, 177, 123))],
)
def test_trained_nets_are_opencvs(cv2: ModuleType, folder: str, size: tuple[int, int], mean: tuple[int, ...]):
    files = [next(iter(sorted(shared(f"models/{folder}").glob(f"*.{kind}")))) for kind in ("prototxt", "caffemodel")]
    image = cv2.imread(str(shared("images/cat.jpg")))
    outputs = []
    for module in (dnn, cv2.dnn):
        net = module.readNetFromCaffe(*map(str, files))
        net.setInput(module.blobFromImage(image, 1.0, size, mean, crop=folder.startswith("squeeze")))
        outputs.append(net.forward(net.getUnconnectedOutLayersNames())[0])
    found, expected = outputs
    if found.ndim == 4 and found.shape[3] == 7:  # detections: OpenCV fills up to keep_top_k with rows of zeros
        rows = found.shape[2]
        assert not expected[:, :, rows:].any()
        expected = expected[:, :, :rows]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, 1e-3, 1e-5)


def test_read_net_takes_the_files_in_either_order(two_ways: tuple[Path, Path]):
    prototxt, weights = two_ways
    outputs = []
    for arguments in ((weights, prototxt), (prototxt, weights), (str(weights), str(prototxt), "Caffe")):
        net = dnn.readNet(*arguments)
        net.setInput(noise(1, 3, 8, 8))
        outputs.append(net.forward())
    for output in outputs[1:]:
        np.testing.assert_array_equal(output, outputs[0])
    for arguments in (("net.onnx",), ("net.pb", "net.pbtxt"), (weights, prototxt, "tensorflow"), (weights,)):
        with pytest.raises(ArgumentError, match=r"are no Caffe net; give a .caffemodel and a .prototxt"):
            dnn.readNet(*arguments)


def test_layers_types_and_weights(two_ways: tuple[Path, Path]):
    net = dnn.readNetFromCaffe(*two_ways)
    types = [net.getLayer(name).type for name in net.getLayerNames()]
    assert net.getLayerTypes() == tuple(sorted({"__NetInputLayer__", *types}))
    assert [net.getLayersCount(name) for name in ("Convolution", "__NetInputLayer__", "LRN")] == [
        types.count("Convolution"),
        1,
        0,
    ]
    weights = net.getLayer("conv1").blobs[0]
    for layer in ("conv1", net.getLayerId("conv1")):
        np.testing.assert_array_equal(net.getParam(layer), weights)
    kept = net.getParam("conv1")
    net.setParam("conv1", 0, np.zeros_like(kept))
    net.setParam("conv1", 1, np.arange(4.0).reshape(4, 1))
    assert kept.any()
    net.setInput(noise(1, 3, 8, 8))
    np.testing.assert_array_equal(net.forward("conv1")[0, :, 0, 0], [0, 1, 2, 3])
    for call in (lambda: net.getParam("conv1", 2), lambda: net.setParam("conv1", 0, np.zeros(5))):
        with pytest.raises(ArgumentError, match=r"2 weight blobs, no 2|does not fit"):
            call()


def test_the_profile_is_in_ticks(two_ways: tuple[Path, Path]):
    net = dnn.readNetFromCaffe(*two_ways)
    with pytest.raises(StateError, match="call setInput and forward first"):
        net.getPerfProfile()
    net.setInput(noise(1, 3, 8, 8))
    output = net.forward()
    total, layers = net.getPerfProfile()
    assert isinstance(total, int)
    assert total > 0
    assert layers.shape == (len(net.getLayerNames()),)
    assert (layers >= 0).all()
    net.enableFusion(False)
    np.testing.assert_array_equal(net.forward(), output)


def test_a_dump_is_a_graph(two_ways: tuple[Path, Path]):
    dump = dnn.readNetFromCaffe(*two_ways).dump()
    assert dump.startswith("digraph")
    assert all(f'label="{name}' in dump for name in ("conv1", "data"))
