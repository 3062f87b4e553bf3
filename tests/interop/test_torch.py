"""A net as a PyTorch module, beside the net itself and beside finite differences."""

from typing import Any

import numpy as np
import pytest

from caffepy.errors import ArgumentError, LayerError, StateError, UnknownBlobError
from tests.gpu_mode import running
from tests.nets import CHAIN, make, noise

torch = pytest.importorskip("torch", reason="needs pip install torch")
from caffepy.interop.torch import NetModule  # noqa: E402

TWO_INPUTS = """
layer { name: "in" type: "Input" top: "b" top: "a"
        input_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 4 } } }
layer { name: "left" type: "InnerProduct" bottom: "a" top: "left"
        inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "tanh" type: "TanH" bottom: "left" top: "left" }
layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "b" top: "sum" eltwise_param { operation: PROD } }
layer { name: "other" type: "Power" bottom: "b" top: "Other" power_param { power: 2 } }
"""
"""Inputs b and a; outputs Other = b^2 and sum = tanh(W a) * b."""


def tensor(*shape: int, seed: int = 0, **kwargs: Any) -> Any:
    return torch.from_numpy(noise(*shape, seed=seed)).requires_grad_(**kwargs)


def test_outputs_and_gradients_are_the_nets():
    net, x = make(CHAIN), tensor(2, 3, 8, 8)
    module = NetModule(net)
    out = module(x)
    expected = make(CHAIN).forward(data=x.detach().numpy())["fc"]
    np.testing.assert_array_equal(out.detach().numpy(), expected)
    diff = noise(2, 5, seed=3)
    out.backward(torch.from_numpy(diff))
    np.testing.assert_array_equal(x.grad.numpy(), net.gradient({"fc": diff})["data"])
    assert not list(module.parameters())


def test_gradients_are_the_slopes_along_a_random_direction():
    module = NetModule(make(TWO_INPUTS))
    b, a = tensor(2, 3, seed=1), tensor(2, 4, seed=2)
    weights = [torch.from_numpy(noise(2, 3, seed=seed)) for seed in (3, 4)]

    def total(b: Any, a: Any) -> Any:
        return sum((w * out).double().sum() for w, out in zip(weights, module(b, a), strict=True))

    total(b, a).backward()
    step = 1e-2
    for value, other in ((b, lambda v: total(v, a)), (a, lambda v: total(b, v))):
        direction = torch.from_numpy(noise(*value.shape, seed=5))
        with torch.no_grad():
            slope = (other(value + step * direction) - other(value - step * direction)) / (2 * step)
        np.testing.assert_allclose((value.grad * direction).sum().item(), slope.item(), rtol=1e-3)


def test_outputs_come_in_the_nets_order_and_only_asked_for_gradients():
    net = make(TWO_INPUTS)
    assert (net.inputs, net.outputs) == (["b", "a"], ["Other", "sum"])
    b, a = tensor(2, 3, requires_grad=False), tensor(2, 4)
    other, total = NetModule(net)(b, a)
    np.testing.assert_allclose(other.detach().numpy(), b.numpy() ** 2, rtol=1e-6)
    total.sum().backward()  # nothing flows into Other
    assert b.grad is None
    assert a.grad.abs().sum() > 0
    first, _ = NetModule(net)(b.requires_grad_(), a)
    (grad_b,) = torch.autograd.grad(first.sum(), b, retain_graph=True)
    np.testing.assert_allclose(grad_b.numpy(), 2 * b.detach().numpy(), rtol=1e-6)
    assert not torch.autograd.grad(first.sum(), a)[0].any()  # no path: zeros


def test_other_blobs_may_be_the_outputs():
    net = make(CHAIN)
    x = tensor(2, 3, 8, 8)
    conv1, fc = NetModule(net, ["conv1", "fc"])(x)
    assert (conv1.shape, fc.shape) == ((2, 4, 6, 6), (2, 5))
    (conv1.sum() + fc.sum()).backward()
    ones = {name: np.ones(net.blobs[name].shape, np.float32) for name in ("conv1", "fc")}
    np.testing.assert_array_equal(x.grad.numpy(), net.gradient(ones)["data"])
    with pytest.raises(UnknownBlobError, match="fc9"):
        NetModule(net, ["fc9"])


def test_an_input_is_optimised():
    module = NetModule(make(CHAIN))
    x, wanted = tensor(1, 3, 8, 8), torch.tensor([[1.0, -1, 2, 0, 1]])
    optimiser = torch.optim.Adam([x], lr=0.05)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(module(x), wanted)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_integrated_gradients_of_a_batch_sum_to_the_difference():
    module = torch.nn.Sequential(NetModule(make(CHAIN)), torch.nn.Softmax(dim=1))  # between modules of torch's own
    x, base, steps = tensor(1, 3, 8, 8).detach(), torch.zeros(1, 3, 8, 8), 64
    along = ((torch.arange(steps) + 0.5) / steps).reshape(-1, 1, 1, 1)
    points = (base + along * (x - base)).requires_grad_()
    module(points)[:, 2].sum().backward()
    total = (points.grad.mean(0) * (x - base)).sum()
    difference = module(x)[0, 2] - module(base)[0, 2]
    np.testing.assert_allclose(total.item(), difference.item(), rtol=2e-2)


def test_what_was_handed_out_stays_and_other_dtypes_and_strides_are_taken():
    module = NetModule(make(CHAIN))
    x = noise(2, 3, 8, 8)
    out = module(torch.from_numpy(x))
    kept = out.clone()
    half = torch.from_numpy(x).to(torch.float64).permute(0, 1, 3, 2).requires_grad_()
    module(half).sum().backward()
    assert half.grad.dtype == torch.float64
    expected = tensor(2, 3, 8, 8).permute(0, 1, 3, 2).contiguous().detach().requires_grad_()
    module(expected).sum().backward()
    np.testing.assert_array_equal(half.grad.numpy(), expected.grad.numpy())
    np.testing.assert_array_equal(out.numpy(), kept.numpy())


@pytest.mark.parametrize("between", ["module", "another module", "net"])
def test_backward_after_another_forward_is_an_error(between: str):
    net = make(CHAIN)
    module = NetModule(net)
    x = tensor(2, 3, 8, 8)
    out = module(x)
    if between == "net":
        net.forward(data=noise(2, 3, 8, 8, seed=9))
    else:
        (module if between == "module" else NetModule(net))(tensor(2, 3, 8, 8, seed=9))
    with pytest.raises(StateError, match="another forward pass since"):
        out.sum().backward()


def test_backward_twice_through_one_pass_and_no_second_derivative():
    x = tensor(2, 3, 8, 8)
    out = NetModule(make(CHAIN))(x)
    first, second = (torch.autograd.grad(out.sum(), x, retain_graph=True)[0] for _ in range(2))
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    (slope,) = torch.autograd.grad(out, x, torch.ones(2, 5, requires_grad=True), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_wrong_inputs():
    net = make(TWO_INPUTS)
    module = NetModule(net)
    with pytest.raises(ArgumentError, match=r"2 tensor\(s\), for the inputs \['b', 'a'\]"):
        module(tensor(2, 3))
    with pytest.raises(ArgumentError, match="ndarray"):
        module(noise(2, 3), noise(2, 4))
    with pytest.raises(LayerError):
        module(tensor(2, 3), tensor(2, 5))
    assert len(module(tensor(2, 3), tensor(2, 4))) == 2  # it goes on
    assert "b, a -> Other, sum" in repr(module)


@pytest.mark.parametrize("pinned", [False, True])
def test_a_net_on_a_gpu_takes_and_gives_tensors_of_the_host(pinned: bool):
    diff, results = torch.from_numpy(noise(2, 5, seed=3)), []
    for mode in ("cpu", "gpu-ascending"):
        with running(mode):
            net = make(CHAIN, **({"device": 0} if pinned and mode != "cpu" else {}))
            if pinned:
                from caffepy import device

                device.set_mode_cpu()
            x = tensor(2, 3, 8, 8)
            out = NetModule(net)(x)
            out.backward(diff)
            results.append((out.detach().numpy(), x.grad.numpy()))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, 1e-4, 1e-5)


@pytest.mark.gpu
def test_tensors_of_the_gpu_are_taken_as_they_are():
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch was built without CUDA")
    x = noise(2, 3, 8, 8)
    outputs = []
    for mode, place in (("cpu", "cpu"), ("gpu-real", "cuda")):
        with running(mode):
            given = torch.from_numpy(x).to(place).requires_grad_()
            out = NetModule(make(CHAIN))(given)
            assert out.device == given.device
            (out**2).sum().backward()
            assert given.grad.device == given.device
            outputs.append((out.detach().cpu().numpy(), given.grad.cpu().numpy()))
    for found, expected in zip(*outputs, strict=True):
        np.testing.assert_allclose(found, expected, 1e-3, 1e-4)
