"""Methods that nets had before 2015, when the mode and the phase were set through them."""

from typing import Any

from caffepy import device
from caffepy.errors import StateError
from caffepy.proto.caffe_pb2 import TEST, TRAIN

_OF_TRANSFORMER = {"set_mean", "set_raw_scale", "set_input_scale", "set_channel_swap", "preprocess", "deprocess"}


class OldNames:
    """Mode and phase through a net; for other old names an AttributeError that says what they are now."""

    phase: int

    def set_mode_cpu(self) -> None:
        """caffe.set_mode_cpu()."""
        device.set_mode_cpu()

    def set_mode_gpu(self) -> None:
        """caffe.set_mode_gpu()."""
        device.set_mode_gpu()

    def set_device(self, gpu: int) -> None:
        """caffe.set_device(gpu)."""
        device.set_device(gpu)

    def set_phase_test(self) -> None:
        """Nothing in a net built for testing; StateError in another, because a net keeps its phase."""
        self._check_phase(TEST, "TEST")

    def set_phase_train(self) -> None:
        """The same for training."""
        self._check_phase(TRAIN, "TRAIN")

    def _check_phase(self, phase: int, name: str) -> None:
        if self.phase != phase:
            raise StateError(f"a net keeps the phase it is built for: caffe.Net(model, weights, caffe.{name})")

    def __getattr__(self, name: str) -> Any:
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        if name in _OF_TRANSFORMER:
            message += "; since 2014 it is caffe.io.Transformer's, which a Classifier has as net.transformer"
        raise AttributeError(message, name=name, obj=self)
