"""Where a storage's values are on a GPU."""

from typing import Any

from numpy.typing import NDArray

from caffepy import device


class GpuHome:
    """A flat array on a GPU."""

    __slots__ = ("_uploading", "array", "gpu")

    def __init__(self, gpu: device.Gpu, array: Any) -> None:
        self.gpu, self.array = gpu, array
        self._uploading: device.Upload | None = None

    def upload(self, host: NDArray[Any]) -> None:
        """array = host, see `wait`"""
        self._uploading = self.gpu.upload(host, self.array)

    def wait(self) -> None:
        """Return when the host's memory may be written to: an upload may still read it."""
        if self._uploading is not None:
            self._uploading.wait()
            self._uploading = None

    def download(self, host: NDArray[Any]) -> None:
        """host = array"""
        self.gpu.download(self.array, host)

    def take(self, other: object) -> bool:
        """The values come by the host."""
        return False
