"""Nets in GPU mode, on the emulated device and on a real one: the same numbers as on the CPU, captured or not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import ArgumentError, DeviceError, KernelError, LayerError, StateError
from caffepy.kernels import tuning
from tests.gpu_mode import REAL, downloaded, running
from tests.nets import CHAIN, FORCED, FORK, make, noise


@pytest.fixture(params=["gpu-ascending", REAL])
def gpu(request: pytest.FixtureRequest) -> Iterator[Any]:
    with running(request.param) as running_gpu:
        yield running_gpu


def passes(text: str, times: int = 3) -> list[np.ndarray]:
    """What `times` forward, backward and gradient passes of a net give, one after the other."""
    net = make("force_backward: true " + text)
    net.params[next(iter(net.params))][0].diff[...] = 0  # weights' diffs are wanted, from the first pass on
    results = []
    for i in range(times):
        inputs = {name: noise(*net.blobs[name].shape, seed=10 * i + j) for j, name in enumerate(net.inputs)}
        results += [net.forward(**inputs)[name].copy() for name in net.outputs]
        diffs = {name: noise(*net.blobs[name].shape, seed=99 + i) for name in net.outputs}
        results += [diff.copy() for diff in net.backward(**diffs).values()]
        results += [
            array if isinstance(array, np.ndarray) else downloaded(array) for array in net.gradient(diffs).values()
        ]
    return results + [blob.diff.copy() for blobs in net.params.values() for blob in blobs]


@pytest.mark.parametrize("mode", ["gpu-ascending", REAL])
@pytest.mark.parametrize("text", [CHAIN, FORK], ids=["chain", "fork"])
def test_the_numbers_are_the_cpus(text: str, mode: str) -> None:
    expected = passes(text)
    with running(mode):
        got = passes(text)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_replayed_passes_are_bit_identical_to_the_first(gpu: Any) -> None:
    net = make(FORCED)
    x, diff = noise(2, 3, 8, 8), noise(2, 5)
    results = []
    for _ in range(4):
        net.forward(data=noise(2, 3, 8, 8, seed=5))
        forward = net.forward(data=x)["fc"].copy()
        results.append((forward, net.backward(fc=diff)["data"].copy(), downloaded(net.gradient({"fc": diff})["data"])))
    for later in results[1:]:
        for a, b in zip(later, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


def test_passes_are_replayed(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(CHAIN)
    net.forward()
    net.forward()
    monkeypatch.setattr(type(net.layers[1]), "forward", lambda *_: pytest.fail("the layer ran again"))
    net.forward(data=noise(2, 3, 8, 8))


def test_a_reshape_ends_a_captured_pass(gpu: Any) -> None:
    net = make(CHAIN)
    x = noise(3, 3, 8, 8)
    for batch in (2, 2, 2, 3, 3, 1, 2):
        net.blobs["data"].reshape(batch, 3, 8, 8)
        out = net.forward(data=x[:batch])["fc"].copy()
        caffe.set_mode_cpu()
        np.testing.assert_allclose(out, net.forward(data=x[:batch])["fc"], rtol=1e-4, atol=1e-5)
        caffe.set_mode_gpu()


def test_a_view_kept_by_a_script_is_seen(gpu: Any) -> None:
    net = make(CHAIN)
    view = net.blobs["data"].data
    seen = []
    for seed in range(3):
        view[...] = noise(2, 3, 8, 8, seed=seed)
        seen.append(net.forward()["fc"].copy())
    assert np.abs(seen[0] - seen[1]).max() > 1e-3
    assert np.abs(seen[1] - seen[2]).max() > 1e-3


def test_weights_written_between_passes_are_seen(gpu: Any) -> None:
    net = make(CHAIN)
    x = noise(2, 3, 8, 8)
    before = [net.forward(data=x)["fc"].copy() for _ in range(3)][-1]
    net.params["fc"][1].data[...] += 1
    np.testing.assert_allclose(net.forward()["fc"], before + 1, rtol=1e-5)


def test_arrays_of_the_device_are_taken_and_given_without_the_host(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    net = make(CHAIN)
    net.forward(data=noise(2, 3, 8, 8))
    diff = gpu.zeros(10, np.float32).reshape(2, 5)
    gpu.fill(diff, 1)
    expected = downloaded(net.gradient({"fc": 1})["data"])
    net.gradient({"fc": diff})
    monkeypatch.setattr(gpu, "download", lambda *_: pytest.fail("something was copied to the host"))
    monkeypatch.setattr(gpu, "upload", lambda *_: pytest.fail("something was copied from the host"))
    got = net.gradient({"fc": diff})["data"]
    assert gpu.is_array(got)
    monkeypatch.undo()
    np.testing.assert_array_equal(downloaded(got), expected)
    assert gpu.is_array(net.blobs["fc"].gpu_data)
    with pytest.raises(ArgumentError, match=r"shape \(10,\) does not fit \(2, 5\)"):
        net.gradient({"fc": diff.reshape(10)})
    caffe.set_mode_cpu()
    with pytest.raises(StateError, match="gpu_data and gpu_diff need GPU mode"):
        _ = net.blobs["fc"].gpu_data


def test_changing_the_mode_carries_everything_along(gpu: Any) -> None:
    net = make(FORCED)
    x = noise(2, 3, 8, 8)
    on_gpu = net.forward(data=x)["fc"].copy()
    caffe.set_mode_cpu()
    diff = np.ones((2, 5), np.float32)
    np.testing.assert_allclose(net.blobs["fc"].data, on_gpu)
    on_cpu = net.backward(fc=diff)["data"].copy()
    caffe.set_mode_gpu()
    np.testing.assert_allclose(net.backward(fc=diff)["data"], on_cpu, rtol=1e-4, atol=1e-6)


def test_dropout_draws_a_new_mask_at_every_replay(gpu: Any) -> None:
    net = make(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1000 } } }'
        'layer { name: "drop" type: "Dropout" bottom: "x" top: "y" }',
        phase=caffe.TRAIN,
    )
    masks = [net.forward(x=np.ones(1000))["y"].copy() for _ in range(5)]
    for i, mask in enumerate(masks):
        assert set(np.unique(mask)) == {0, 2}
        assert not any(np.array_equal(mask, other) for other in masks[:i])
    caffe.set_random_seed(3)
    first = [net.forward()["y"].copy() for _ in range(2)]
    caffe.set_random_seed(3)
    np.testing.assert_array_equal([net.forward()["y"].copy() for _ in range(2)], first)


def test_another_precision_is_another_pass(gpu: Any) -> None:
    net, x = make(CHAIN), noise(2, 3, 8, 8)
    exact = [net.forward(data=x)["fc"].copy() for _ in range(3)][-1]
    caffe.set_precision("3xtf32")
    try:
        for _ in range(3):
            np.testing.assert_allclose(net.forward(data=x)["fc"], exact, rtol=1e-4, atol=1e-5)
    finally:
        caffe.set_precision("fp32")
    np.testing.assert_array_equal(net.forward(data=x)["fc"], exact)


def test_tuning_measures_the_products_and_changes_no_result(gpu: Any, tmp_path: Path) -> None:
    net, x = make(CHAIN), noise(2, 3, 8, 8)
    out = net.forward(data=x)["fc"].copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAFFEPY_CACHE", str(tmp_path))
        tuning.reload()
        measured = net.tune()
        assert {m.file for m in measured} >= {"convolution_forward.cu", "convolution_backward.cu"}
        assert (tmp_path / "tuning.json").is_file()
        for _ in range(3):
            np.testing.assert_allclose(net.forward(data=x)["fc"], out, rtol=1e-4, atol=1e-5)
    tuning.reload()
    caffe.set_mode_cpu()
    with pytest.raises(StateError, match="tune measures on a GPU"):
        net.tune()


def test_stochastic_pooling_draws_anew_at_every_replay(gpu: Any) -> None:
    net = make(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 50 dim: 4 dim: 4 } } }'
        'layer { name: "p" type: "Pooling" bottom: "x" top: "y" '
        "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 } }",
        phase=caffe.TRAIN,
    )
    x = np.abs(noise(1, 50, 4, 4))
    tops = [net.forward(x=x)["y"].copy() for _ in range(4)]
    for i, top in enumerate(tops):
        assert np.isin(top, x).all()
        assert not any(np.array_equal(top, other) for other in tops[:i])


LOSS = """
layer { name: "x" type: "Input" top: "x" top: "label" input_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "label" top: "loss"
        loss_param { ignore_label: 9 normalization: VALID } }"""


def test_losses_normalize_and_check_labels_at_every_replay(gpu: Any) -> None:
    net = make(LOSS)
    caffe.set_mode_cpu()
    on_cpu = make(LOSS)
    for labels in ([0, 1, 2, 0], [0, 9, 9, 1], [9, 9, 9, 9], [2, 2, 9, 0]):
        inputs = {"x": noise(4, 3), "label": np.array(labels)}
        caffe.set_mode_cpu()
        expected = float(on_cpu.forward(**inputs)["loss"])
        caffe.set_mode_gpu()
        assert float(net.forward(**inputs)["loss"]) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(LayerError, match=r"layer 'loss' .*: label 3 at \(2,\) of bottom 'label'"):
        net.forward(x=noise(4, 3), label=np.array([0, 1, 3, 2]))
    net.forward(x=noise(4, 3), label=np.array([0, 1, 1, 2]))


BATCH_NORM = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" }"""


def test_running_statistics_go_on_at_every_replay(gpu: Any) -> None:
    def statistics() -> list[np.ndarray]:
        net = make(BATCH_NORM, phase=caffe.TRAIN)
        for seed in range(4):
            net.forward(x=noise(4, 3, seed=seed))
        return [blob.data.copy() for blob in net.params["bn"]]

    got = statistics()
    caffe.set_mode_cpu()
    for a, b in zip(got, statistics(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_out_of_memory_names_the_layer_and_leaves_the_net_usable(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros, expected = gpu.zeros, None

    def limited(count: int, dtype: type) -> object:
        if count > 15000:
            raise DeviceError(f"GPU 0: no room for {count} numbers, 15000 are free; reshape the net to a smaller batch")
        return zeros(count, dtype)

    monkeypatch.setattr(gpu, "zeros", limited)
    net = make(CHAIN)
    for batch in (1, 200, 1):
        net.blobs["data"].reshape(batch, 3, 8, 8)
        if batch == 200:
            with pytest.raises(DeviceError, match=r"layer 'conv1' \(Convolution\), top conv1: GPU 0: no room for"):
                net.forward()
        else:
            out = net.forward(data=noise(1, 3, 8, 8))["fc"].copy()
            expected = out if expected is None else expected
            np.testing.assert_array_equal(out, expected)


def test_an_operation_does_not_mix_devices(gpu: Any) -> None:
    from caffepy.layers.activation.relu import relu_forward

    with pytest.raises(KernelError, match="not all in one place: bottom_data on the host, top_data on the GPU"):
        relu_forward(np.ones(3, np.float32), gpu.zeros(3, np.float32), negative_slope=0.0)


def test_gradients_before_layers_in_place(gpu: Any) -> None:
    from tests.saliency.nets import MIXED

    names = ["data", ("conv1", "conv1"), ("a", "a"), ("sum", "sum"), ("b", "b")]
    diff, image, results = np.eye(6, dtype=np.float32)[[1, 4]], noise(2, 3, 9, 8), []
    for mode in (caffe.set_mode_cpu, caffe.set_mode_gpu):
        mode()
        net = make(MIXED)
        for _ in range(3):
            net.forward(data=image)
            results.append(net.gradient({"fc": diff}, names))
    for found in results[3:]:
        for name in names:
            np.testing.assert_allclose(downloaded(found[name]), results[0][name], rtol=1e-4, atol=1e-5)
