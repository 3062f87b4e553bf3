"""A net as a PyTorch module: forward and backward run caffepy's engine, autograd goes through."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from caffepy import device
from caffepy.blob import Floats
from caffepy.errors import ArgumentError, StateError
from caffepy.interop import library

if TYPE_CHECKING:
    from caffepy.net import Net

torch = library("torch", "to_torch", "torch")
_Module: Any = torch.nn.Module
_Function: Any = torch.autograd.Function

_passes: "WeakKeyDictionary[Net, int]" = WeakKeyDictionary()
"""How many forward passes the modules of a net have run."""


class NetModule(_Module):  # type: ignore[misc]
    """A net whose inputs are positional tensors, in the order of net.inputs, and whose outputs are tensors.

        module = net.to_torch()
        scores = module(images)             # one output: a tensor; several: a tuple in the order of net.outputs
        scores[:, 281].sum().backward()     # images.grad

    The inputs take the tensors' shapes, and are made float32. Gradients are those with respect to the inputs; the
    weights stay the net's own and are no parameters of the module. `outputs` names other blobs to return.

    On the CPU tensors are seen as NumPy arrays and gradients come back without a copy; where the net runs on a GPU,
    tensors of that GPU by DLPack. Inputs are copied into the net's memory, and outputs out of it, because the next pass
    overwrites it. For the same reason backward needs the net as the forward pass left it: after another one, of this
    module or of the net, it raises StateError. There are no second derivatives.
    """

    def __init__(self, net: "Net", outputs: Sequence[str] | None = None) -> None:
        super().__init__()
        self.net = net
        self.outputs = list(net.outputs if outputs is None else outputs)
        for name in self.outputs:
            net.blob_index(name)

    def forward(self, *inputs: Any) -> Any:
        """The outputs for these inputs."""
        names = self.net.inputs
        if len(inputs) != len(names) or not all(isinstance(value, torch.Tensor) for value in inputs):
            given = [type(value).__name__ for value in inputs]
            raise ArgumentError(f"this module takes {len(names)} tensor(s), for the inputs {names}; got {given}")
        outputs = _Pass.apply(self.net, self.outputs, *(value.to(torch.float32) for value in inputs))
        return outputs[0] if len(outputs) == 1 else outputs

    def extra_repr(self) -> str:
        """Its inputs and outputs."""
        return f"{self.net.param.name!r}, {', '.join(self.net.inputs)} -> {', '.join(self.outputs)}"


class _Pass(_Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, net: "Net", outputs: Sequence[str], *inputs: Any) -> Any:
        values = [value.detach().contiguous() for value in inputs]
        on_gpu = any(value.is_cuda for value in values)
        with net._lock:
            if on_gpu and isinstance(device.current(), device.Cpu):
                raise ArgumentError("the tensors are on a GPU, the net runs on the CPU; call set_mode_gpu() or x.cpu()")
            for name, value in zip(net.inputs, values, strict=True):
                net.blob(name).reshape(tuple(value.shape))
                net.blob(name).data_storage.put(_array(value))
            net._forward_range(0, len(net.execution.layers) - 1)
            results = tuple(_tensor(_copy(net, name, on_gpu)) for name in outputs)
            _passes[net] = ctx.number = _passes.get(net, 0) + 1
        ctx.net, ctx.outputs = net, outputs
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *diffs: Any) -> Any:
        net: Net = ctx.net
        inputs = ctx.saved_tensors
        if ctx.number != _passes[net] or not all(_holds(net, *pair) for pair in zip(net.inputs, inputs, strict=True)):
            raise StateError(
                "backward: the net has run another forward pass since; run backward right after the forward pass it "
                "belongs to, or give each pass a net of its own"
            )
        pairs = zip(ctx.outputs, diffs, strict=True)
        given = {name: _host_or_gpu(diff.contiguous()) for name, diff in pairs if diff is not None}
        wanted = [name for name, needed in zip(net.inputs, ctx.needs_input_grad[2:], strict=True) if needed]
        found = net.gradient(given, wanted)
        with net._lock:
            return (
                None,
                None,
                *(
                    _tensor(_brought(found[name], value.is_cuda)) if name in found else None
                    for name, value in zip(net.inputs, inputs, strict=True)
                ),
            )


def _host_or_gpu(tensor: Any) -> Any:
    return tensor if tensor.is_cuda else tensor.numpy()


def _array(tensor: Any) -> Any:
    """The tensor's memory as an array of NumPy, or of the running GPU."""
    if not tensor.is_cuda:
        return tensor.numpy()
    running = device.current()
    adopted = None if isinstance(running, device.Cpu) else running.adopt(tensor)
    if adopted is None:
        raise ArgumentError(f"a tensor is on {tensor.device}, the net runs on {running.name}; put both on one GPU")
    return adopted


def _copy(net: "Net", name: str, on_gpu: bool) -> Any:
    """What the blob holds, in new memory: the running GPU's, or the host's."""
    blob, running = net.blob(name), device.current()
    if not on_gpu:
        return blob.read().copy()
    copy = running.zeros(blob.count, np.float32)
    running.copy(blob.data_storage.array(blob.count), copy)
    return copy.reshape(blob.shape)


def _brought(array: Any, to_gpu: bool) -> Any:
    """The array on the running GPU or on the host, wherever it is wanted."""
    return array if to_gpu else device.downloaded(array)


def _tensor(array: Any) -> Any:
    """The array's memory as a tensor."""
    if isinstance(array, np.ndarray):
        return torch.from_numpy(array)
    return torch.from_dlpack(array)


def _holds(net: "Net", name: str, value: Any) -> bool:
    """Whether the input still is what it was, as far as the host can tell without a copy from the GPU."""
    blob = net.blob(name)
    if value.is_cuda or not blob.data_storage.on_host:
        return True
    data: Floats = blob.read()
    return np.array_equal(data, value.detach().numpy(), equal_nan=True)
