"""What Caffe's own Python tests ask of pycaffe (python/caffe/test), asked again in our words."""

import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import caffepy as caffe
from caffepy import coord_map, draw
from caffepy import layers as L
from caffepy import params as P
from caffepy.net_spec import Top
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import BlobProto

TRAINED = """
name: "trained" force_backward: true
layer { name: "source" type: "DummyData" top: "image" top: "class"
        dummy_data_param { num: 4 channels: 3 height: 5 width: 6 num: 4 channels: 1 height: 1 width: 1
                           data_filler { type: "uniform" min: -1 max: 1 } data_filler { type: "constant" } } }
layer { name: "conv" type: "Convolution" bottom: "image" top: "conv" param { decay_mult: 1 } param { decay_mult: 0 }
        convolution_param { num_output: 7 kernel_size: 3 pad: 2 weight_filler { type: "gaussian" std: 1 }
                            bias_filler { type: "constant" value: 1 } } }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "score"
        inner_product_param { num_output: 9 weight_filler { type: "gaussian" std: 1 }
                              bias_filler { type: "constant" value: -2 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "class" top: "loss" }
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "trained.prototxt").write_text(TRAINED)
    return str(tmp_path / "trained.prototxt")


@pytest.fixture
def net(file: str) -> caffe.Net:
    caffe.set_random_seed(1)
    built = caffe.Net(file, caffe.TRAIN)
    built.blobs["class"].data[...] = np.arange(4).reshape(4, 1, 1, 1)
    return built


def weights(net: caffe.Net) -> list[np.ndarray]:
    return [blob.data.copy() for blobs in net.params.values() for blob in blobs]


def test_blobs_outlive_their_net(net: caffe.Net) -> None:
    net.forward()
    net.backward()
    blobs = [*net.blobs.values(), *(blob for each in net.params.values() for blob in each)]
    before = [(blob.data.sum(), blob.diff.sum()) for blob in blobs]
    del net
    assert [(blob.data.sum(), blob.diff.sum()) for blob in blobs] == before


def test_names(net: caffe.Net) -> None:
    assert (net.inputs, net.outputs) == ([], ["loss"])
    assert list(net.layer_dict) == list(net._layer_names) == ["source", "conv", "fc", "loss"]
    assert [net.layer_dict[name].type for name in net._layer_names] == [layer.type for layer in net.layers]
    tops = [("source", ["image", "class"]), ("conv", ["conv"]), ("fc", ["score"]), ("loss", ["loss"])]
    bottoms = [("source", []), ("conv", ["image"]), ("fc", ["conv"]), ("loss", ["score", "class"])]
    assert (net.top_names, net.bottom_names) == (OrderedDict(tops), OrderedDict(bottoms))


def test_one_layer_forward_and_backward_before_any_other_has_run(net: caffe.Net) -> None:
    rng = np.random.default_rng(0)
    matrix, bias = (blob.data for blob in net.params["fc"])
    net.blobs["conv"].data[...] = x = rng.random(net.blobs["conv"].data.shape, np.float32)
    forward = net.forward(start="fc", end="fc")
    np.testing.assert_allclose(forward["score"], x.reshape(4, -1) @ matrix.T + bias, rtol=1e-3, atol=1e-4)
    net.blobs["score"].diff[...] = diff = rng.random((4, 9), np.float32)
    backward = net.backward(start="fc", end="fc")
    np.testing.assert_allclose(backward["conv"], (diff @ matrix).reshape(x.shape), rtol=1e-3, atol=1e-4)


def test_weight_diffs_are_cleared_where_a_script_looks_at_them(net: caffe.Net) -> None:
    net.forward()
    net.backward()
    seen = net.params["conv"][0].diff
    assert seen.any()
    net.clear_param_diffs()
    assert not seen.any()


def test_files(net: caffe.Net, file: str, tmp_path: Path) -> None:
    binary, hdf5 = str(tmp_path / "weights"), str(tmp_path / "more")
    net.save(binary)
    net.save_hdf5(hdf5)
    third = caffe.Net(file, caffe.TRAIN)
    third.load_hdf5(hdf5)
    for other in (caffe.Net(file, binary, caffe.TRAIN), caffe.Net(file, caffe.TRAIN, weights=binary), third):
        assert all(map(np.array_equal, weights(other), weights(net)))


def rule(name: str, include: str) -> str:
    return f'layer {{ name: "{name}" type: "TanH" bottom: "x" top: "{name}" {include} }}\n'


SOURCE = 'layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 2 } } }\n'
LEVELS = SOURCE + "".join(
    rule(name, include)
    for name, include in [
        ("always", ""),
        ("zero", "include { min_level: 0 max_level: 0 }"),
        ("one", "include { min_level: 1 max_level: 1 }"),
        ("from_zero", "include { min_level: 0 }"),
        ("from_one", "include { min_level: 1 }"),
    ]
)
STAGES = SOURCE + "".join(
    rule(name, include)
    for name, include in [
        ("s", 'include { stage: "s" }'),
        ("t", 'include { stage: "t" }'),
        ("s_or_t", 'include { stage: "s" } include { stage: "t" }'),
        ("s_and_t", 'include { stage: "s" stage: "t" }'),
    ]
)


@pytest.mark.parametrize(
    ("text", "chosen", "blobs"),
    [
        (LEVELS, {}, ["always", "zero", "from_zero"]),
        (LEVELS, {"level": 1}, ["always", "one", "from_zero", "from_one"]),
        (STAGES, {"stages": ["s"]}, ["s", "s_or_t"]),
        (STAGES, {"stages": ["t"]}, ["t", "s_or_t"]),
        (STAGES, {"stages": ["s", "t"]}, ["s", "t", "s_or_t", "s_and_t"]),
    ],
)
def test_levels_and_stages(tmp_path: Path, text: str, chosen: dict, blobs: list[str]) -> None:
    (tmp_path / "net.prototxt").write_text(text)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST, **chosen)
    assert [name for name in net.blobs if name in net.outputs and not name.startswith("x")] == blobs


ALL_IN_ONE = """
layer { name: "t" type: "DummyData" top: "x" top: "y" include { phase: TRAIN stage: "learn" }
        dummy_data_param { shape { dim: 1 dim: 3 } shape { dim: 1 } } }
layer { name: "v" type: "DummyData" top: "x" top: "y" include { phase: TEST stage: "check" }
        dummy_data_param { shape { dim: 1 dim: 3 } shape { dim: 1 } } }
layer { name: "d" type: "Input" top: "x" include { phase: TEST stage: "use" } input_param { shape { dim: 1 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "y" top: "loss"
        include: { phase: TRAIN stage: "learn" } include: { phase: TEST stage: "check" } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" include: { phase: TEST stage: "use" } }
"""


@pytest.mark.parametrize(
    ("phase", "stage", "output"),
    [(caffe.TRAIN, "learn", "loss"), (caffe.TEST, "check", "loss"), (caffe.TEST, "use", "prob")],
)
def test_one_file_for_all_uses(tmp_path: Path, phase: int, stage: str, output: str) -> None:
    (tmp_path / "net.prototxt").write_text(ALL_IN_ONE)
    net = caffe.Net(str(tmp_path / "net.prototxt"), phase, stages=[stage])
    assert (net.outputs, net.blobs["x"].shape) == ([output], (1, 3))


MODULE = """
import caffe

class Scaled(caffe.Layer):
    def setup(self, bottom, top):
        try:
            self.by = float(self.param_str)
        except ValueError:
            raise ValueError("give a number")
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top): top[0].data[...] = self.by * bottom[0].data
    def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = self.by * top[0].diff

class Weighted(caffe.Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.blobs[0].data[0] = 0
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top): pass
    def backward(self, top, propagate_down, bottom): self.blobs[0].diff[0] = 1

class Phase(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape()
    def forward(self, bottom, top): top[0].data[()] = self.phase

class Counter(caffe.Layer):
    def setup(self, bottom, top):
        top[0].reshape(3)
        self.next = 0
    def reshape(self, bottom, top): pass
    def forward(self, bottom, top):
        top[0].data[...] = range(self.next, self.next + 3)
        self.next += 3
    def backward(self, top, propagate_down, bottom): pass
"""
INPUT = "force_backward: true input: 'x' input_shape { dim: 4 dim: 3 dim: 2 }\n"


def python(cls: str, bottom: str, top: str, param_str: str = "") -> str:
    read = f"bottom: '{bottom}'" if bottom else ""
    return (
        f"layer {{ type: 'Python' name: '{top}' {read} top: '{top}' python_param {{ module: 'asked_layers' "
        f"layer: '{cls}' param_str: '{param_str}' }} }}\n"
    )


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "asked_layers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "asked_layers", raising=False)

    def made(text: str, phase: int = caffe.TRAIN) -> caffe.Net:
        (tmp_path / "net.prototxt").write_text(text)
        return caffe.Net(str(tmp_path / "net.prototxt"), phase)

    return made


def test_python_layers_in_a_row(build) -> None:
    net = build(INPUT + python("Scaled", "x", "y", "10") + python("Scaled", "y", "z", "2"))
    net.blobs["x"].data[...] = 8
    net.forward()
    assert (net.blobs["z"].data == 160).all()
    net.blobs["z"].diff[...] = 7
    net.backward()
    assert (net.blobs["x"].diff == 140).all()
    net.blobs["x"].reshape(5, 5, 5, 5)
    net.forward()
    assert {blob.data.shape for blob in net.blobs.values()} == {(5, 5, 5, 5)}
    with pytest.raises(ValueError, match="give a number"):
        build(INPUT + python("Scaled", "x", "y", "ten"))


def test_a_python_layers_weights(build, tmp_path: Path) -> None:
    text = INPUT + python("Weighted", "x", "y")
    net = build(text)
    net.forward()
    net.backward()
    (blob,) = net.layers[list(net._layer_names).index("y")].blobs
    assert (blob.data[0], blob.diff[0]) == (0, 1)
    blob.data[0] += blob.diff[0]
    net.save(str(tmp_path / "kept"))
    blob.data[0] = -1
    net.copy_from(str(tmp_path / "kept"))
    assert blob.data[0] == 1
    other = build(text)
    other.share_with(net)
    assert other.layers[list(other._layer_names).index("y")].blobs[0].data[0] == 1


def test_a_python_layers_phase_and_own_methods(build) -> None:
    for phase in (caffe.TRAIN, caffe.TEST):
        assert build(python("Phase", "", "y"), phase).forward()["y"] == phase
    net = build(python("Counter", "", "y"))
    assert [net.forward()["y"].tolist() for _ in range(2)] == [[0, 1, 2], [3, 4, 5]]
    net.layers[0].next = 0
    assert net.forward()["y"].tolist() == [0, 1, 2]


def lenet(n: object) -> Top:
    n.data, n.label = L.DummyData(
        shape=[{"dim": [8, 1, 28, 28]}, {"dim": [8, 1, 1, 1]}], transform_param={"scale": 1 / 255}, ntop=2
    )
    blob = n.data
    for i, channels in enumerate((20, 50), start=1):
        blob = L.Convolution(blob, kernel_size=5, num_output=channels, weight_filler={"type": "xavier"})
        setattr(n, f"conv{i}", blob)
        blob = L.Pooling(blob, kernel_size=2, stride=2, pool=P.Pooling.MAX)
        setattr(n, f"pool{i}", blob)
    n.ip1 = L.InnerProduct(blob, num_output=500, weight_filler={"type": "xavier"})
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.ip2 = L.InnerProduct(n.relu1, num_output=10, weight_filler={"type": "xavier"})
    n.loss = L.SoftmaxWithLoss(n.ip2, n.label)
    return n.loss


class Plain:
    """Attributes, and no names for layers."""


@pytest.mark.parametrize("named", [True, False])
def test_a_spec_builds_from_its_text(tmp_path: Path, named: bool) -> None:
    spec = caffe.NetSpec() if named else Plain()
    loss = lenet(spec)
    proto = spec.to_proto() if named else loss.to_proto()
    assert list(proto.layer[6].bottom) == list(proto.layer[6].top)
    (tmp_path / "lenet.prototxt").write_text(str(proto))
    assert len(caffe.Net(str(tmp_path / "lenet.prototxt"), caffe.TEST).layers) == 9


def test_layers_without_tops_have_names() -> None:
    spec = caffe.NetSpec()
    spec.x, spec.y = L.DummyData(shape=[{"dim": [1]}, {"dim": [1]}], ntop=2)
    spec.quiet_x, spec.quiet_y = L.Silence(spec.x, ntop=0), L.Silence(spec.y, ntop=0)
    assert [layer.name for layer in spec.to_proto().layer] == ["x", "quiet_x", "quiet_y"]
    with pytest.raises(TypeError, match=r"(?m)^Silence input 0 is not a Top \(type is <class 'tuple'>\)$"):
        L.Silence((spec.x, spec.y), ntop=0)


def test_blobprotos_of_every_age() -> None:
    values = [0.0] * 6
    old = BlobProto(num=1, channels=1, height=2, width=3, data=values)
    new = BlobProto(shape={"dim": [2, 3]}, data=values)
    assert [caffe.io.blobproto_to_array(blob).shape for blob in (old, new)] == [(1, 1, 2, 3), (2, 3)]
    assert caffe.io.blobproto_to_array(BlobProto(data=[123.0])) == 123
    with pytest.raises(ValueError, match="6 are stored"):
        caffe.io.blobproto_to_array(BlobProto(data=values))
    array = np.ones((4, 4, 3))
    labelled, plain = (caffe.io.array_to_datum(array, label=label).SerializeToString() for label in (1, None))
    assert len(labelled) > len(plain)


def mapped(kernel=3, stride=1, pad=0, pool=2, up=2, up_pad=0) -> caffe.NetSpec:
    """conv, pool, deconv of twice the stride."""
    n = caffe.NetSpec()
    n.x, n.aux = L.Input(shape={"dim": [2, 1, 90, 90]}), L.Input(shape={"dim": [2, 1, 20, 20]})
    n.conv = L.Convolution(n.x, num_output=3, kernel_size=kernel, stride=stride, pad=pad)
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=pool, stride=pool, pad=0)
    n.up = L.Deconvolution(n.pool, num_output=3, kernel_size=2 * up, stride=up, pad=up_pad)
    return n


def test_coordinates() -> None:
    def through(n: caffe.NetSpec, top: str = "up") -> tuple:
        return coord_map.coord_map_from_to(n[top], n.x)

    n = mapped()
    axis, scale, shift = through(n)
    assert (axis, scale, shift) == (1, 1, 0)
    assert through(mapped(pool=4, up=4)) == (1, 1, -1)
    n.relu = L.ReLU(n.up)
    n.one = L.Convolution(n.relu, num_output=3, kernel_size=1, stride=1, pad=0)
    n.crop = L.Crop(n.up, n.x, axis=2, offset=6)
    assert through(n, "relu") == through(n, "one") == (1, 1, 0)
    assert through(n, "crop") == (1, 1, 6)
    for pad in (1, 9):
        assert through(mapped(pad=pad)) == (1, 1, -pad)
        assert through(mapped(up_pad=pad)) == (1, 1, pad)
        assert through(mapped(pad=pad, up_pad=pad)) == (1, 1, 0)
    n.a, n.b = L.Convolution(n.x, n.aux, ntop=2, num_output=3, kernel_size=5, stride=2, pad=0)
    assert coord_map.coord_map_from_to(n.a, n.x) == coord_map.coord_map_from_to(n.b, n.aux)
    tall, wide = mapped(), mapped(kernel=5, stride=2, pad=10)
    _, scales, shifts = through(mapped(kernel=[3, 5], stride=[1, 2], pad=[0, 10]))
    assert list(zip(scales, shifts, strict=True)) == [through(tall)[1:], through(wide)[1:]]


def test_coordinates_in_three_dimensions_and_crops() -> None:
    n = caffe.NetSpec()
    n.x = L.Input(shape={"dim": [2, 3, 40, 40, 40]})
    n.conv = L.Convolution(n.x, num_output=3, kernel_size=[3, 3, 3], stride=[1, 1, 1], pad=[0, 1, 2])
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=2, stride=2, pad=0)
    n.up = L.Deconvolution(n.pool, num_output=3, kernel_size=4, stride=2, pad=0)
    axis, scales, shifts = coord_map.coord_map_from_to(n.up, n.x)
    assert (axis, list(scales), list(shifts)) == (1, [1, 1, 1], [0, -1, -2])
    m = mapped()
    assert coord_map.crop(m.up, m.x).fn.type_name == "Crop"
    m.fc = L.InnerProduct(m.up, num_output=3)
    with pytest.raises(RuntimeError, match=r"^Could not compute map between tops; are they connected by spatial"):
        coord_map.coord_map_from_to(m.fc, m.x)
    for changed, message in ({"pool": 3}, "^scale mismatch on crop"), ({"up_pad": 10}, "^cannot crop negative offset"):
        other = mapped(**changed)
        with pytest.raises(AssertionError, match=message):
            coord_map.crop(other.up, other.x)


def test_the_rest() -> None:
    assert {"Convolution", "InnerProduct", "Data"} <= set(caffe.layer_type_list())
    assert not caffe.has_nccl() or isinstance(caffe.NCCL.new_uid(), bytes)
    drawn = draw.draw_net(prototxt.parse(TRAINED, caffe.proto.caffe_pb2.NetParameter), "LR", ext="svg")
    assert b"InnerProduct" in drawn
