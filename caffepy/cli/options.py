"""Which net a command works on: its arguments and options, and how it is opened."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from caffepy import TEST, TRAIN, Net
from caffepy.limits import COMPUTES, Limits

_PHASES = {"train": TRAIN, "test": TEST}

WEIGHTS_ENDINGS = (".caffemodel", ".h5", ".hdf5")


@dataclass(frozen=True)
class NetChoice:
    """A model, its weights, the state that filters its layers, and where it runs."""

    model: str
    weights: str | None = None
    phase: int = TEST
    level: int = 0
    stages: tuple[str, ...] = ()
    gpu: int | None = None
    limits: Limits = COMPUTES

    @property
    def has_weights(self) -> bool:
        """Whether they come from a file, a .caffemodel as the model included."""
        return self.weights is not None or self.model.endswith(WEIGHTS_ENDINGS)

    @property
    def device(self) -> int | str:
        """What a Net is pinned to."""
        return "cpu" if self.gpu is None else self.gpu

    def open(self, kind: type[Net] = Net) -> Net:
        """The net. Raises what Net raises."""
        return kind(
            self.model,
            self.phase,
            level=self.level,
            stages=self.stages,
            weights=self.weights,
            device=self.device,
            limits=self.limits,
        )


ALLOW_OPTION = click.option(
    "--allow",
    "limits",
    multiple=True,
    metavar="MODULE|PATH",
    callback=lambda context, option, allowed: Limits(allowed),
    help="Let the model's Python layers import this module, or let it name this file or folder (with a slash: ./data); "
    "all for anything. May be given again.",
)
PLACE_OPTIONS = (
    click.option("--gpu", type=int, metavar="N", help="Run on GPU number N. [default: on the CPU]"),
    ALLOW_OPTION,
)


def net_options(phase: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command MODEL, WEIGHTS and the options of a NetChoice, which it gets as `net`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_choice(
            model: str,
            weights: str | None,
            phase: str,
            level: int,
            stage: tuple[str, ...],
            gpu: int | None,
            limits: Limits,
            **rest: Any,
        ) -> Any:
            return command(NetChoice(model, weights, _PHASES[phase], level, stage, gpu, limits), **rest)

        decorators = [
            click.argument("model", metavar="MODEL"),
            click.argument("weights", metavar="[WEIGHTS]", required=False),
            click.option(
                "--phase",
                type=click.Choice(list(_PHASES), case_sensitive=False),
                default=phase,
                show_default=True,
                help="Which layers, and how they behave.",
            ),
            click.option("--level", default=0, show_default=True, help="For layers with min_level or max_level."),
            click.option("--stage", multiple=True, metavar="NAME", help="For layers with a stage; may be given again."),
            *PLACE_OPTIONS,
        ]
        for decorator in reversed(decorators):
            with_choice = decorator(with_choice)
        return with_choice

    return decorate
