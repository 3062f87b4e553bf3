"""Which net a command works on: its arguments and options, and how it is opened."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import click

from caffepy import TEST, TRAIN, Net
from caffepy.errors import GraphError
from caffepy.graph import filter_net
from caffepy.net.weights import read_definition
from caffepy.proto.caffe_pb2 import LayerParameter, NetParameter, NetState

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
    allow: tuple[str, ...] = ()

    @property
    def has_weights(self) -> bool:
        """Whether they come from a file, a .caffemodel as the model included."""
        return self.weights is not None or self.model.endswith(WEIGHTS_ENDINGS)

    @property
    def device(self) -> int | str:
        """What a Net is pinned to."""
        return "cpu" if self.gpu is None else self.gpu

    def open(self) -> Net:
        """The net. Raises what Net and `check` raise."""
        self.check()
        return Net(
            self.model, self.phase, level=self.level, stages=self.stages, weights=self.weights, device=self.device
        )

    def check(self) -> None:
        """Raise GraphError for a Python layer that is not allowed."""
        definition = read_definition(self.model)
        state = NetState()
        state.CopyFrom(definition.state)
        state.MergeFrom(NetState(phase=self.phase, level=self.level, stage=self.stages))  # type: ignore[arg-type]
        any_module = "all" in self.allow
        for layer in filter_net(definition, state).layer:
            if not any_module:
                _check_module(layer, self.allow)


def _check_module(layer: LayerParameter, allow: tuple[str, ...]) -> None:
    module = layer.python_param.module
    if layer.type == "Python" and module not in allow:
        raise GraphError(
            f"layer {layer.name!r} (Python) runs code of the module {module!r}; look at what it does, then say "
            f"--allow {module or 'MODULE'}, or --allow all for a model that you trust"
        )


def check_modules(definitions: Iterable[NetParameter], allow: tuple[str, ...]) -> None:
    """Raise GraphError for a Python layer of these nets whose module is not allowed."""
    if "all" not in allow:
        for definition in definitions:
            for layer in definition.layer:
                _check_module(layer, allow)


ALLOW_OPTION = click.option(
    "--allow",
    multiple=True,
    metavar="MODULE",
    help="Let Python layers import this module; all for any. May be given again.",
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
            allow: tuple[str, ...],
            **rest: Any,
        ) -> Any:
            return command(NetChoice(model, weights, _PHASES[phase], level, stage, gpu, allow), **rest)

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
