"""Models that come with the package."""

from dataclasses import dataclass
from pathlib import Path

from caffepy.errors import MissingFileError
from caffepy.proto.caffe_pb2 import TEST
from caffepy.pycaffe import Net

_MODELS = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """A picture and the index of its class."""

    picture: Path
    label: int


@dataclass(frozen=True)
class EmbeddedModel:
    """A trained net, the names of its classes by index, and pictures it was not trained on."""

    prototxt: Path
    weights: Path
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]

    def net(self, phase: int = TEST) -> Net:
        """The net with its trained weights."""
        return Net(self.prototxt, phase, weights=self.weights)


def fashion_mnist() -> EmbeddedModel:
    """Garments in gray, 28 x 28 pixels of 0 to 1, in ten classes (Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747).

    Input `data` (N, 1, 28, 28), output `prob` (N, 10). One sample of each class, from the test images.
    """
    return _embedded("fashion_mnist")


def _embedded(name: str) -> EmbeddedModel:
    folder = _MODELS / name
    prototxt, weights, labels = folder / "deploy.prototxt", folder / f"{name}.caffemodel", folder / "labels.txt"
    for path in (prototxt, weights, labels):
        if not path.is_file():
            raise MissingFileError(f"{path} is not there, though it comes with caffepy: install caffepy again")
    pictures = sorted((folder / "samples").glob("*.png"))
    return EmbeddedModel(
        prototxt,
        weights,
        tuple(labels.read_text("utf-8").splitlines()),
        tuple(Sample(picture, int(picture.stem.split("-")[0])) for picture in pictures),
    )
