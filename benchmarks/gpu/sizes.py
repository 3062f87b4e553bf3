"""What is measured, and how often."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.nets import NETS, tiny
from caffepy.proto.caffe_pb2 import NetParameter

MIB = 2**20


@dataclass(frozen=True)
class Sizes:
    """Of one run of the suite."""

    nets: Mapping[str, Callable[[int], NetParameter]]
    saliency_net: str
    """The net of the targets for one image."""
    batches: tuple[int, ...]
    copies: tuple[int, ...]
    """Bytes that the copies read."""
    product: int
    """Rows, columns and terms of the matrix product."""
    l2: int
    """Bytes of the cache that inputs are to be too many for."""
    fewest: int
    most: int
    budget: float
    """Samples of a median: as many as take `budget` ms, within these bounds."""
    compiler: str
    """The backend of torch.compile; "" leaves it out."""

    @property
    def dry(self) -> bool:
        """Whether this is no measurement."""
        return self.nets is TINY


TINY = {"tiny": tiny}

EMULATED = Sizes(TINY, "tiny", (1, 2), (4096, 65536), 32, 4096, 2, 2, 0, "eager")
"""The whole suite in seconds, on a GPU that is emulated on the CPU."""


def real(l2: int) -> Sizes:
    """For a GPU with that much L2 cache."""
    copies = tuple(n * MIB for n in (1, 8, 64, 512, 2048))
    return Sizes(NETS, "caffenet", (1, 8, 32), copies, 8192, l2, 7, 40, 30, "inductor")
