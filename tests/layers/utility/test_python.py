"""Layers in pycaffe's way, on every device."""

import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import LayerError, NotAllowedError
from tests.gpu_mode import REAL, downloaded, running
from tests.nets import make, noise

MODULE = """
import numpy as np
import caffe


class Shift(caffe.Layer):
    '''top = bottom * weight + float(param_str); the weight starts at 3.'''

    def setup(self, bottom, top):
        if len(bottom) != 1:
            raise Exception('one bottom, please')
        self.by = float(self.param_str)
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = 3
        assert self.type == 'Python' and self.phase in (caffe.TRAIN, caffe.TEST)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data * self.blobs[0].data + self.by

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum()
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.blobs[0].data


class Halves(caffe.Layer):
    '''Squared distance, as pycaffe's examples have it.'''

    def setup(self, bottom, top): pass

    def reshape(self, bottom, top):
        self.diff = np.zeros_like(bottom[0].data, dtype=np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff**2) / bottom[0].num / 2.

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * self.diff / bottom[i].num


class Positive(caffe.Layer):
    '''Shapes its top in forward, as detectors' proposal layers do.'''

    def setup(self, bottom, top):
        top[0].reshape(1, bottom[0].channels)

    def reshape(self, bottom, top): pass

    def forward(self, bottom, top):
        self.rows = np.flatnonzero(bottom[0].data[:, 0] > 0)
        top[0].reshape(len(self.rows), bottom[0].channels)
        top[0].data[...] = bottom[0].data[self.rows]

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 0
        bottom[0].diff[self.rows] = top[0].diff


class Failing(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(1)
    def forward(self, bottom, top): self.stumble()
    def stumble(self): raise ZeroDivisionError('stumbled')
"""

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }'


def layer(cls: str, bottoms: str = 'bottom: "x"', rest: str = "", module: str = "user_layers") -> str:
    python = f'python_param {{ module: "{module}" layer: "{cls}" {rest} }}'
    return f'layer {{ name: "own" type: "Python" {bottoms} top: "y" {python} }}'


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user_layers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "user_layers", raising=False)


@pytest.fixture(params=["cpu", "gpu-ascending", REAL])
def mode(request: pytest.FixtureRequest) -> Iterator[None]:
    with running(request.param):
        yield


def on_host(array: object) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else downloaded(array)


@pytest.mark.usefixtures("mode")
def test_forward_backward_and_weights() -> None:
    text = "force_backward: true\n" + INPUT + layer("Shift", rest='param_str: "0.5" share_in_parallel: true')
    net = make(text + 'layer { name: "z" type: "Power" bottom: "y" top: "z" power_param { scale: 2 } }')
    x, diff = noise(4, 3), noise(4, 3, seed=1)
    for i in range(3):
        np.testing.assert_allclose(net.forward(x=x)["z"], 6 * x + 1, rtol=1e-5)
        np.testing.assert_allclose(net.backward(z=diff)["x"], 6 * diff, rtol=1e-5)
        np.testing.assert_allclose(net.params["own"][0].diff, (i + 1) * 2 * (x * diff).sum(), rtol=1e-4)
    before = net.params["own"][0].diff.copy()
    np.testing.assert_allclose(on_host(net.gradient({"z": diff})["x"]), 6 * diff, rtol=1e-5)
    np.testing.assert_array_equal(net.params["own"][0].diff, before)


@pytest.mark.usefixtures("mode")
def test_a_loss() -> None:
    text = INPUT + INPUT.replace('"x"', '"t"')
    net = make(
        "force_backward: true\n"
        + text
        + layer("Halves", 'bottom: "x" bottom: "t"').replace("type:", "loss_weight: 2 type:")
    )
    x, t = noise(4, 3), noise(4, 3, seed=1)
    assert net.forward(x=x, t=t)["y"][0] == pytest.approx(((x - t) ** 2).sum() / 8, rel=1e-5)
    assert net.blobs["y"].diff[0] == 2
    np.testing.assert_allclose(net.backward()["x"], (x - t) / 4, rtol=1e-5)


@pytest.mark.usefixtures("mode")
def test_tops_that_forward_shapes() -> None:
    text = INPUT + layer("Positive") + 'layer { name: "z" type: "Power" bottom: "y" top: "z" power_param { scale: 2 } }'
    net = make("force_backward: true\n" + text)
    for signs in ([1, 1, -1, 1], [1, -1, -1, -1], [-1, -1, -1, -1], [1, 1, 1, 1], [1, 1, -1, 1]):
        x = np.abs(noise(4, 3)) * np.array(signs, np.float32)[:, None]
        rows = np.array(signs) > 0
        np.testing.assert_allclose(net.forward(x=x)["z"], 2 * x[rows])
        np.testing.assert_array_equal(on_host(net.gradient({"z": 1})["x"]), 2.0 * np.repeat(rows[:, None], 3, axis=1))


def test_exceptions_keep_their_traceback() -> None:
    net = make(INPUT + layer("Failing"))
    with pytest.raises(ZeroDivisionError, match="stumbled") as caught:
        net.forward()
    assert "stumble" in [frame.name for frame in traceback.extract_tb(caught.tb)]
    with pytest.raises(ZeroDivisionError):  # the net is not stuck
        net.forward()
    with pytest.raises(Exception, match="one bottom, please"):
        make(INPUT + layer("Shift", 'bottom: "x" bottom: "x"', 'param_str: "1"'))


def test_a_layer_without_backward_says_so() -> None:
    net = make("force_backward: true\n" + INPUT + layer("Failing"))
    net.execution.stale = frozenset()
    with pytest.raises(NotImplementedError, match="Failing has no backward"):
        net.backward(y=np.ones(1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            layer("Shift", module="nowhere"),
            r"layer 'own' \(Python\): .*'nowhere' cannot be imported .*put its folder on",
        ),
        (layer("Missing"), r"module 'user_layers' \(.*user_layers.py\) has no class 'Missing'"),
        ('layer { name: "own" type: "Python" top: "y" }', r"give python_param \{ module and layer \}"),
    ],
)
def test_what_cannot_be_loaded(text: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        make(INPUT + text)


def test_an_untrusted_model_imports_nothing() -> None:
    text = INPUT + layer("Shift", rest='param_str: "1"')
    with pytest.raises(
        NotAllowedError, match=r"would import the module 'user_layers'.*allowed=\['user_layers'\].*--allow user_layers"
    ):
        make(text, untrusted=True)
    assert "user_layers" not in sys.modules
    make(text, untrusted=True, allowed=["user_layers"])
    make(INPUT, untrusted=True)


def test_the_base_class_is_pycaffes() -> None:
    assert caffe.Layer.__name__ == "PythonLayer"
    assert "Python" in caffe.layer_type_list()


SOURCE = """
import caffe

class Source(caffe.Layer):
    def setup(self, bottom, top):
        self.params = eval(self.param_str_)
        self.key = str(self.phase)
        self.batches = []
    def set_batches(self, batches): self.batches = batches
    def reshape(self, bottom, top): top[0].reshape(2)
    def forward(self, bottom, top): top[0].data[...] = self.batches.pop(0)
    def backward(self, top, propagate_down, bottom): pass
"""


def test_a_nets_layers_are_the_users_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user_layers.py").write_text(SOURCE)
    net = make(layer("Source", "", "param_str: '{\\'scale\\': 2}'"))
    own = net.layers[0]
    assert isinstance(own, caffe.Layer)
    assert type(own).__name__ == "Source"
    assert own is net.layer_dict["own"] is net.layers[0]
    assert (own.type, list(own.blobs), own.params) == ("Python", [], {"scale": 2})
    net.layer_dict["own"].set_batches([[1, 2], [3, 4]])
    assert net.forward()["y"].tolist() == [1, 2]
    own.set_batches([[5, 6]])
    assert net.forward()["y"].tolist() == [5, 6]
    sys.modules.pop("user_layers")


@pytest.mark.parametrize(("phase", "name"), [(caffe.TRAIN, "TRAIN"), (caffe.TEST, "TEST")])
def test_a_phase_is_a_number_with_a_name(tmp_path: Path, phase: int, name: str) -> None:
    (tmp_path / "user_layers.py").write_text(SOURCE)
    own = make(layer("Source", "", 'param_str: "None"'), phase).layers[0]
    assert own.key == name == f"{own.phase!s}"
    assert own.phase == phase
    assert {0: "TRAIN", 1: "TEST"}[own.phase] == name
    assert f"{own.phase:d}" == str(phase)
    sys.modules.pop("user_layers")


@pytest.mark.parametrize("module", ["user_layers", "helper"])
def test_python_2_is_recognised_with_the_way_out(tmp_path: Path, module: str) -> None:
    (tmp_path / "user_layers.py").write_text("import helper\n" + MODULE)
    (tmp_path / "helper.py").write_text("")
    (tmp_path / f"{module}.py").write_text("x = 1\nprint 'layers'\n")
    sys.modules.pop("helper", None)
    with pytest.raises(LayerError) as caught:
        make(INPUT + layer("Shift"))
    path = tmp_path / f"{module}.py"
    assert str(caught.value).startswith("layer 'own' (Python): python_param: module 'user_layers' is not Python 3")
    assert f"{path}, line 2" in str(caught.value)
    assert str(caught.value).endswith(f"caffepy run --convert --in-place {path}")


@pytest.mark.parametrize("name", ["helper", "Other", "NUMBER"])
def test_what_is_no_layer_class_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user_layers.py").write_text("def helper(): pass\nclass Other: pass\nNUMBER = 3\n")
    with pytest.raises(LayerError, match=rf"'{name}' of module 'user_layers' .* no class that descends from caffe.Lay"):
        make(layer(name, ""))
    sys.modules.pop("user_layers")
