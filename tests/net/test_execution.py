"""Where a pass stops: at callbacks, host layers and dynamic layers; and which device a net runs on."""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

import caffepy as caffe
from caffepy import device
from caffepy.blob import Arrays, Shape
from caffepy.errors import DeviceError
from caffepy.layer import TYPES, Layer
from tests.cuda_on_cpu import EmulatedCuda
from tests.gpu_mode import REAL, downloaded, running
from tests.nets import CHAIN, FORCED, make, noise


class Doubled(Layer):
    """On the host: top = 2 bottom."""

    host = True

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return [bottom_shapes[0]]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        np.multiply(bottom[0].data, 2, out=top[0].data)

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        np.multiply(top[0].diff, 2, out=bottom[0].diff)


class Positive(Layer):
    """On the host, dynamic: the rows of bottom whose first value is positive."""

    host = dynamic = True

    def reshape(self, bottom_shapes: Sequence[Shape]) -> Sequence[Shape]:
        return [bottom_shapes[0]]

    def resolve(self, bottom: Sequence[Arrays]) -> Sequence[Shape]:
        assert isinstance(bottom[0].data, np.ndarray)
        self.rows = np.flatnonzero(bottom[0].data[:, 0] > 0)
        return [(len(self.rows), *bottom[0].shape[1:])]

    def forward(self, bottom: Sequence[Arrays], top: Sequence[Arrays]) -> None:
        top[0].data[...] = bottom[0].data[self.rows]

    def backward(self, top: Sequence[Arrays], propagate_down: Sequence[bool], bottom: Sequence[Arrays]) -> None:
        bottom[0].diff[...] = 0
        bottom[0].diff[self.rows] = top[0].diff


@pytest.fixture(autouse=True)
def _types(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Doubled, Positive):
        cls.type, cls.bottoms, cls.tops = cls.__name__, 1, 1
        monkeypatch.setitem(TYPES, cls.__name__, cls)


@pytest.fixture(params=["cpu", "gpu-ascending", REAL])
def mode(request: pytest.FixtureRequest) -> Iterator[EmulatedCuda | None]:
    with running(request.param) as emulated:
        yield emulated


STOPS = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "before" type: "Power" bottom: "x" top: "a" power_param { scale: 3 } }
layer { name: "stop" type: "%s" bottom: "a" top: "b" }
layer { name: "after" type: "InnerProduct" bottom: "b" top: "c"
        inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "last" type: "TanH" bottom: "c" top: "c" }
"""


def on_host(array: object) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else downloaded(array)


@pytest.mark.usefixtures("mode")
def test_a_host_layer_between_others() -> None:
    net = make(STOPS % "Doubled")
    weight, bias = (blob.data.copy() for blob in net.params["after"])
    for seed in range(4):
        x, diff = noise(4, 3, seed=seed), noise(4, 2, seed=seed + 9)
        expected = np.tanh(6 * x @ weight.T + bias)
        slope = 6 * (diff * (1 - expected**2)) @ weight
        np.testing.assert_allclose(net.forward(x=x)["c"], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(net.backward(c=diff)["x"], slope, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(on_host(net.gradient({"c": diff})["x"]), slope, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("mode")
def test_tops_of_a_dynamic_layer_follow_the_data() -> None:
    net = make(STOPS % "Positive")
    weight, bias = (blob.data.copy() for blob in net.params["after"])
    for signs in ([1, 1, -1, 1], [1, -1, -1, -1], [1, -1, -1, -1], [-1, -1, -1, -1], [1, 1, 1, 1], [-1, 1, -1, 1]):
        x = np.abs(noise(4, 3)) * np.array(signs, np.float32)[:, None]
        rows = np.array(signs) > 0
        expected = np.tanh(3 * x[rows] @ weight.T + bias)
        got = net.forward(x=x)["c"]
        assert got.shape == (sum(rows), 2)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
        slope = np.zeros((4, 3), np.float32)
        slope[rows] = 3 * (1 - expected**2) @ weight
        np.testing.assert_allclose(on_host(net.gradient({"c": 1})["x"]), slope, rtol=1e-4, atol=1e-5)


def test_only_what_is_below_a_dynamic_layer_is_captured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    forward = TYPES["Power"].forward
    monkeypatch.setattr(TYPES["Power"], "forward", lambda *args: ran.append(1) or forward(*args))
    with running("gpu-ascending"):
        net = make(STOPS % "Positive")
        for rows in (1, 2, 3, 4, 2, 1):
            x = np.ones((4, 3), np.float32)
            x[rows:] = -1
            assert net.forward(x=x)["c"].shape == (rows, 2)
    assert len(ran) == 3  # what has to be compiled is noted, the pass runs, it is captured; from then on replayed


BEHIND_A_STOP = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "stop" type: "Doubled" bottom: "x" top: "y" }
"""


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("wrt", ["x", "y"])
def test_a_gradient_follows_the_shapes_of_what_no_captured_layer_reads(wrt: str) -> None:
    """A batch that shrinks and grows again moves no memory, by which a captured pass would see it."""
    net = make(BEHIND_A_STOP)
    for seed, batch in enumerate((4, 2, 2, 4, 4)):
        net.blobs["x"].reshape(batch, 3)
        net.forward()
        diff = noise(batch, 3, seed=seed)
        found = on_host(net.gradient({"y": diff}, wrt)[wrt])
        np.testing.assert_array_equal(found, 2 * diff if wrt == "x" else diff)


@pytest.mark.usefixtures("mode")
def test_callbacks_see_each_layer() -> None:
    net = make(FORCED)
    seen: list[tuple[str, str]] = []
    for moment in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net.callbacks, moment).append(lambda i, moment=moment: seen.append((moment, net.layer_names[i])))
    net.callbacks.after_forward.append(
        lambda i: net.blobs["pool1"].data.fill(0) if net.layer_names[i] == "pool1" else None
    )
    for _ in range(3):
        seen.clear()
        out = net.forward(data=noise(2, 3, 8, 8))["fc"]
        np.testing.assert_allclose(out, np.broadcast_to(net.params["fc"][1].data, (2, 5)), atol=1e-6)
        net.backward(fc=np.ones((2, 5), np.float32))
        forward = [(f"{when}_forward", name) for name in net.layer_names for when in ("before", "after")]
        backward = [(f"{when}_backward", name) for name in net.layer_names[::-1] for when in ("before", "after")]
        assert seen == forward + backward


def test_a_net_keeps_to_its_device() -> None:
    x = noise(2, 3, 8, 8)
    expected = make(CHAIN).forward(data=x)["fc"].copy()
    first, second = EmulatedCuda(), EmulatedCuda()
    device.use(first, second)
    try:
        nets = [make(CHAIN, device=which) for which in (0, 1, "cpu", None)]
        for _ in range(3):
            for net in nets:
                np.testing.assert_allclose(net.forward(data=x)["fc"], expected, rtol=1e-4, atol=1e-5)
        assert [on.gpu for on in (net.blobs["fc"].data_storage for net in nets)] == [first, second, None, None]
        caffe.set_device(1)
        caffe.set_mode_gpu()
        np.testing.assert_allclose(nets[3].forward(data=x)["fc"], expected, rtol=1e-4, atol=1e-5)
        assert nets[3].blobs["fc"].data_storage.gpu is second
        caffe.set_device(0)
        nets[3].forward(data=2 * x)
        assert nets[3].blobs["fc"].data_storage.gpu is first
        caffe.set_device(1)
        for _ in range(3):
            np.testing.assert_allclose(nets[3].forward(data=x)["fc"], expected, rtol=1e-4, atol=1e-5)
        caffe.set_mode_cpu()
        on_second = second.zeros(x.size, np.float32).reshape(x.shape)
        second.upload(x, on_second)
        np.testing.assert_allclose(nets[1].forward(data=on_second)["fc"], expected, rtol=1e-4, atol=1e-5)
        with pytest.raises(DeviceError, match="device 'gpu0': give the number of a GPU"):
            make(CHAIN, device="gpu0")
    finally:
        device.use()


def test_threads_with_nets_on_devices_of_their_own() -> None:
    x = noise(2, 3, 8, 8)
    expected = make(CHAIN).forward(data=x)["fc"].copy()
    device.use(EmulatedCuda(), EmulatedCuda())
    nets = [make(CHAIN, device=i) for i in range(2)]
    wrong: list[str] = []

    def work(net: caffe.Net) -> None:
        for _ in range(5):
            if not np.allclose(net.forward(data=x)["fc"], expected, rtol=1e-4, atol=1e-5):
                wrong.append(net.param.name)

    try:
        threads = [threading.Thread(target=work, args=[net]) for net in nets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        device.use()
    assert wrong == []
