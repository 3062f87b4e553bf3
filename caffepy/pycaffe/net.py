"""pycaffe's calling habits over the net: keyword inputs and diffs, live views, names in order."""

import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from caffepy import net as engine
from caffepy.blob import Blob, Floats, fit
from caffepy.errors import ArgumentError, StateError, UnknownBlobError, nearest
from caffepy.graph import Version
from caffepy.layers.data.memory_data import MemoryData
from caffepy.limits import Limits, limits_of
from caffepy.net.around import Callback, Ending
from caffepy.proto.caffe_pb2 import NetParameter
from caffepy.proto.files import as_path
from caffepy.pycaffe import batches, explaining, from_layer
from caffepy.pycaffe.arguments import Path, constructor_arguments, exactly, names_of
from caffepy.pycaffe.old_names import OldNames


class NotComputedWarning(UserWarning):
    """A diff was handed out that the backward pass did not compute."""


class _Names(OrderedDict[str, Any]):
    """A mapping by name whose KeyError says what there is."""

    def __init__(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), what: str = "") -> None:
        self.what: str = what or getattr(items, "what", "entry")
        super().__init__(items)

    def copy(self) -> "_Names":
        """Another one of the same."""
        return _Names(self)

    def __missing__(self, name: str) -> Any:
        raise UnknownBlobError(f"this net has no {self.what} {name!r}{nearest(name, self)}")


class Net(OldNames, engine.Net):
    """pycaffe's `caffe.Net`.

        Net(network_file, phase, level=0, stages=None, weights=None)
        Net(network_file, weights, phase)

    and beyond pycaffe, `device`: a GPU's number or "cpu", which the net keeps to whatever the mode is; `limits`: a
    caffepy.limits.Limits, what the model may do; or short for it `untrusted`: import no module for a Python layer and
    touch no file that the model names, but those `allowed`; `memory_limit`: the most bytes a forward pass may take;
    `memory`: "inference" lets blobs take turns in the same memory, all but inputs, outputs and those named in `keep`.

    `network_file` is a prototxt, a .caffemodel that holds its own definition, or a NetParameter.

    In phase TEST, weight gradients are computed when a weight's diff is first asked for: see set_param_diffs.
    """

    _param_diffs_wait = True

    def __init__(
        self,
        network_file: Path | NetParameter,
        *args: Any,
        device: int | str | None = None,
        limits: Limits | None = None,
        untrusted: bool = False,
        allowed: Iterable[str] = (),
        memory_limit: int | None = None,
        memory: str = "full",
        keep: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        phase, weights, level, stages = constructor_arguments(args, kwargs)
        limits = limits_of(limits, untrusted=untrusted, allowed=allowed, memory=memory_limit)
        beyond: dict[str, Any] = {"device": device, "limits": limits, "memory": memory, "keep": keep}
        super().__init__(network_file, phase, weights=weights, level=level, stages=stages, **beyond)
        self._warned = False
        names = self.wiring.blobs
        self._by_name = _Names(((name, self.execution.blobs[i]) for i, name in enumerate(names)), "blob")
        self._params = _Names(
            ((layer.name, layer.blobs) for layer in self.execution.layers if layer.blobs), "layer with weights"
        )

    # ---- what there is

    @property
    def blobs(self) -> Mapping[str, Blob]:
        """Every blob by name, in the order the layers write them."""
        self._lock.check_open()
        return self._by_name

    @property
    def params(self) -> Mapping[str, list[Blob]]:
        """The weights of every layer that has some."""
        self._lock.check_open()
        return self._params

    @property
    def layers(self) -> list[Any]:
        """Every layer, splits included; of a Python layer the user's own object."""
        return [layer.shown for layer in self.execution.layers]

    @property
    def layer_dict(self) -> Mapping[str, Any]:
        """The same by name."""
        return _Names(zip(self.layer_names, self.layers, strict=True), "layer")

    @property
    def top_names(self) -> Mapping[str, list[str]]:
        """Each layer's tops."""
        return OrderedDict((layer.name, list(layer.param.top)) for layer in self.execution.layers)

    @property
    def bottom_names(self) -> Mapping[str, list[str]]:
        """Each layer's bottoms."""
        return OrderedDict((layer.name, list(layer.param.bottom)) for layer in self.execution.layers)

    @property
    def blob_loss_weights(self) -> Mapping[str, float]:
        """Each blob's weight in the loss."""
        weights = dict.fromkeys(self.wiring.blobs, 0.0)
        for layer, given in zip(self.execution.layers, self.loss_weights, strict=True):
            weights.update(zip(layer.param.top, given, strict=True))
        return OrderedDict(weights)

    def close(self) -> None:
        """Give the memory back. Arrays already handed out stay valid; the net cannot run again."""
        super().close()
        self._by_name.clear()
        self._params.clear()

    # ---- passes

    def forward(
        self, blobs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> dict[str, Floats]:
        """Run the layers `start` to `end` (names, both included; default: all).

        blobs   names of further blobs to return
        kwargs  an array for every input of the net: copied in first, the batch size must be the input's
        returns the outputs (with `end`, that layer's tops) and `blobs`: live views of their data
        """
        first, last = self._range(start, end, backward=False)
        wanted = [
            *(self.outputs if end is None else self.top_names[self.execution.layers[last].name]),
            *names_of(blobs),
        ]
        self._check_blobs(wanted)
        if kwargs and set(kwargs) != set(self.inputs):
            raise ArgumentError("Input blob arguments do not match net inputs.").advise(
                exactly("forward", "inputs", self.inputs, kwargs)
            )
        with self._lock:
            values = {name: self._value("forward: input", name, value) for name, value in kwargs.items()}
            for name, value in values.items():
                self._by_name[name].data_storage.put(value)
            self._forward_range(first, last)
        return {name: self._by_name[name].data for name in wanted}

    def backward(
        self, diffs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> dict[str, Floats]:
        """Run backward from layer `start` down to `end` (names, both included; default: all).

        diffs   names of further blobs whose diffs to return
        kwargs  an array for every output of the net: copied into its diff first, the batch size must be the output's
        returns the inputs' diffs (with `end`, those of that layer's bottoms) and `diffs`: live views

        As in Caffe, the input's diff is computed only where `force_backward: true` or a weight below asks for it; a
        NotComputedWarning says so, once. `gradient` computes any diff, always.
        """
        first, last = self._range(start, end, backward=True)
        wanted = [
            *(self.inputs if end is None else self.bottom_names[self.execution.layers[last].name]),
            *names_of(diffs),
        ]
        self._check_blobs(wanted)
        if kwargs and set(kwargs) != set(self.outputs):
            raise ArgumentError("Top diff arguments do not match net outputs.").advise(
                exactly("backward", "outputs", self.outputs, kwargs)
            )
        with self._lock:
            values = {name: self._value("backward: diff of", name, value) for name, value in kwargs.items()}
            for name, value in values.items():
                self._by_name[name].diff_storage.put(value)
            versions = self._backward_range(first, last)
        computed = {self.wiring.blobs[self.wiring.blob(version)] for version in versions}
        self._warn_about([name for name in wanted if name not in computed and name not in self.outputs])
        return {name: self._by_name[name].diff for name in wanted}

    def backward_from_layer(
        self, start_name: str, start_diff: Any, diffs: Sequence[str] | None = None, zero_higher: bool = False
    ) -> dict[str, Floats]:
        """Put a diff at a layer's top and run backward from there: see caffepy.pycaffe.from_layer."""
        return from_layer.backward(self, start_name, start_diff, diffs, zero_higher)

    def deconv_from_layer(
        self,
        start_name: str,
        start_diff: Any,
        diffs: Sequence[str] | None = None,
        zero_higher: bool = False,
        deconv_type: str = from_layer.ZEILER_FERGUS,
    ) -> dict[str, Floats]:
        """The same by the rules of a deconvolutional net or of guided backpropagation."""
        return from_layer.deconv(self, start_name, start_diff, diffs, zero_higher, deconv_type)

    def lrp(self, class_inds: Any, lrp_opts: explaining.RelPropOpts | None = None) -> Floats:
        """The input's relevance for these classes, after a forward pass: see caffepy.pycaffe.relevance.lrp."""
        from caffepy.pycaffe.relevance import lrp

        return lrp(self, class_inds, lrp_opts)

    def forward_all(self, blobs: Sequence[str] | None = None, **kwargs: Any) -> dict[str, Floats]:
        """Run forward on any number of samples, batch by batch; the last batch is filled up with zeros.

        blobs   names of further blobs to return
        kwargs  for every input of the net an array, as many samples in each
        returns the outputs and `blobs`, a row for each sample
        """
        return batches.forward_all(partial(self.forward, blobs), self._batch_size, kwargs)

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **kwargs: Any
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Run forward and backward on any number of samples, batch by batch; see forward_all and backward.

        kwargs  for every input an array of samples, and for every output one of diffs, or for none of them
        returns (outputs and `blobs`, inputs' diffs and `diffs`), a row for each sample
        """
        passes = partial(self.forward, blobs), partial(self.backward, diffs)
        return batches.forward_backward_all(*passes, self._batch_size, set(self.inputs), kwargs)

    def set_input_arrays(self, data: Any, labels: Any) -> None:
        """Let the net's MemoryData layer take its batches from these arrays.

        data     (n, channels, height, width)
        labels   n of them, of any shape

        Raises StateError where the first layer is not MemoryData, LayerError where the arrays do not fit.
        """
        first = self.execution.layers[0]
        if not isinstance(first, MemoryData):
            raise StateError("set_input_arrays may only be called if the first layer is a MemoryDataLayer").advise(
                f"set_input_arrays: the first layer {first.name!r} is {first.type}; it must be MemoryData"
            )
        with self._lock:
            first.reset(data, labels)

    def clear_param_diffs(self) -> None:
        """Set the diffs of all weights to zero; backward adds to them."""
        with self._lock:
            self.param_diffs.clear()

    def before_forward(self, callback: Callback) -> None:
        """Call `callback(index of the layer)` before each layer's forward."""
        self.callbacks.before_forward.append(callback)

    def after_forward(self, callback: Callback) -> None:
        """Call it after each layer's forward."""
        self.callbacks.after_forward.append(callback)

    def before_backward(self, callback: Callback) -> None:
        """Call it before each layer's backward."""
        self.callbacks.before_backward.append(callback)

    def after_backward(self, callback: Callback) -> None:
        """Call it after each layer's backward."""
        self.callbacks.after_backward.append(callback)

    # ---- files

    def save_hdf5(self, path: Path, *, diffs: bool = False) -> None:
        """Write the weights as HDF5, whatever the file's name."""
        self._save(path, diffs, hdf5=True)

    def load_hdf5(self, path: Path) -> None:
        """Load weights by layer name; as copy_from, which sees what kind of file it is."""
        self.copy_from(path)

    # ---- to other libraries, see caffepy.interop

    def to_torch(self, outputs: Sequence[str] | None = None) -> Any:
        """The net as a torch.nn.Module, forward and backward by caffepy: see caffepy.interop.torch.NetModule."""
        from caffepy.interop.torch import NetModule

        return NetModule(self, outputs)

    def to_onnx(self, path: Path) -> None:
        """Write the net as an ONNX model: see caffepy.interop.onnx.to_onnx."""
        from caffepy.interop.onnx import to_onnx

        to_onnx(self, as_path(path, "to_onnx"))

    def save_safetensors(self, path: Path) -> None:
        """Write the weights as safetensors: see caffepy.interop.safetensors.save_safetensors."""
        from caffepy.interop.safetensors import save_safetensors

        save_safetensors(self, as_path(path, "save_safetensors"))

    def load_safetensors(self, path: Path) -> engine.WeightReport:
        """Load weights by layer name: see caffepy.interop.safetensors.load_safetensors."""
        from caffepy.interop.safetensors import load_safetensors

        return load_safetensors(self, as_path(path, "load_safetensors"))

    # ---- names that pycaffe's own Python code uses

    @property
    def _batch_size(self) -> int:
        size: int = next(iter(self.blobs.values())).num
        return size

    @property
    def _blobs(self) -> list[Blob]:
        return list(self.execution.blobs)

    @property
    def _blob_names(self) -> list[str]:
        return list(self.wiring.blobs)

    @property
    def _layer_names(self) -> list[str]:
        return self.layer_names

    @property
    def _blob_loss_weights(self) -> list[float]:
        return list(self.blob_loss_weights.values())

    @property
    def _inputs(self) -> list[int]:
        return [self.blob_index(name) for name in self.inputs]

    @property
    def _outputs(self) -> list[int]:
        return [self.blob_index(name) for name in self.outputs]

    def _bottom_ids(self, layer: int) -> list[int]:
        return list(self.wiring.bottoms[layer])

    def _top_ids(self, layer: int) -> list[int]:
        return list(self.wiring.tops[layer])

    def _forward(self, start: int, end: int) -> float:
        return self.forward_from_to(start, end)

    def _backward(self, start: int, end: int) -> None:
        self.backward_from_to(start, end)

    def _batch(self, blobs: Mapping[str, Any]) -> Iterator[dict[str, Floats]]:
        return batches.batches(self._batch_size, blobs)

    def _set_input_arrays(self, data: Any, labels: Any) -> None:
        self.set_input_arrays(data, labels)

    def _backward_range(self, start: int, end: int, ending: Ending | None = None) -> set[Version]:
        with explaining.by_mode(self):
            return super()._backward_range(start, end, ending)

    # ---- checks

    def _range(self, start: str | None, end: str | None, *, backward: bool) -> tuple[int, int]:
        self._lock.check_open()
        first, last = (len(self.execution.layers) - 1, 0) if backward else (0, len(self.execution.layers) - 1)
        return (
            first if start is None else self.layer_index(start),
            last if end is None else self.layer_index(end),
        )

    def _check_blobs(self, names: Iterable[str]) -> None:
        for name in names:
            self.blob(name)

    def _value(self, what: str, name: str, value: Any) -> Any:
        shape = self._by_name[name].shape
        given = getattr(value, "shape", None)
        if given and shape and given[0] != shape[0]:
            batch = "Input" if what.startswith("forward") else "Diff"
            raise ArgumentError(f"{batch} is not batch sized").advise(
                f"{what} {name!r} has batch size {given[0]} (shape {tuple(given)}), the net {shape[0]} ({shape}); "
                f"reshape the net first: net.blobs[{name!r}].reshape{(given[0], *shape[1:])}; net.reshape()"
            )
        return fit(value, shape, f"{what} {name!r}")

    def _warn_about(self, names: Sequence[str]) -> None:
        if names and not self._warned:
            self._warned = True
            warnings.warn(
                f"backward did not compute the diff of {', '.join(map(repr, names))}: what it holds is old. "
                "Put `force_backward: true` in the prototxt, or use net.gradient({output: diff}, wrt=...)",
                NotComputedWarning,
                stacklevel=3,
            )
