"""Rules chosen by the layer's class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from caffepy.graph import Wiring
from caffepy.layer import Layer
from caffepy.net.rules import Rule


@dataclass(frozen=True)
class ByType:
    """The first rule whose layer class fits; layers that none fits keep their derivatives."""

    name: str
    rules: tuple[tuple[type[Layer], Rule], ...]

    def choose(self, layers: Sequence[Layer], wiring: Wiring) -> Mapping[int, Rule]:
        """Rules by the layer's index."""
        chosen: dict[int, Rule] = {}
        for i, layer in enumerate(layers):
            for kind, rule in self.rules:
                if isinstance(layer, kind):
                    chosen[i] = rule
                    break
        return chosen
