"""A solver's settings read, and the nets they name built (Caffe: Solver::InitTrainNet, Solver::InitTestNets)."""

import os
from collections.abc import Iterable
from os import PathLike, fspath

from caffepy.errors import ProtoError, SolverError
from caffepy.limits import Limits
from caffepy.net.weights import read_definition
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import TEST, TRAIN, NetParameter, NetState, SolverParameter
from caffepy.proto.settings import settle_solver
from caffepy.proto.upgrade import upgrade_solver
from caffepy.pycaffe import Net
from caffepy.solver.log import say

_TRAIN_NETS = ("net", "net_param", "train_net", "train_net_param")
_SOURCES = {
    "net": "from net file: {}",
    "train_net": "from train_net file: {}",
    "net_param": "specified in net_param.",
    "train_net_param": "specified in train_net_param.",
}


def read_solver(source: str | PathLike[str] | SolverParameter) -> SolverParameter:
    """The settings in a solver's prototxt, made current, or a copy of those given.

    snapshot_prefix becomes the file's name without its ending where none is given, and is put before it where it names
    a folder. Raises MissingFileError and ProtoError.
    """
    param = SolverParameter()
    if isinstance(source, SolverParameter):
        param.CopyFrom(source)
    else:
        param = prototxt.read(source, SolverParameter)
    try:
        notes = [*upgrade_solver(param), *settle_solver(param)]
    except ProtoError as error:
        raise error if isinstance(source, SolverParameter) else ProtoError(f"{fspath(source)}: {error}") from error
    for note in notes:
        say("upgrade_proto.cpp:1093", note)
    if not isinstance(source, SolverParameter):
        _complete_prefix(param, fspath(source))
    return param


def _complete_prefix(param: SolverParameter, path: str) -> None:
    own = os.path.splitext(path)[0]
    if not param.HasField("snapshot_prefix"):
        param.snapshot_prefix = own
        say("upgrade_proto.cpp:1108", f"snapshot_prefix was not specified and is set to {own}")
    elif os.path.isdir(param.snapshot_prefix):
        param.snapshot_prefix = os.path.join(param.snapshot_prefix, os.path.basename(own))
        say("upgrade_proto.cpp:1113", f"snapshot_prefix was a directory and is replaced to {param.snapshot_prefix}")


def check(param: SolverParameter, kind: str) -> None:
    """Raise SolverError for settings that contradict each other or the solver's type, before any net is built."""
    check_train_net(param)
    if param.snapshot and not param.HasField("snapshot_prefix"):
        raise SolverError("snapshot is given and snapshot_prefix is not; give it, too")
    if param.average_loss < 1:
        raise SolverError(f"average_loss: {param.average_loss}; give at least 1")
    if param.iter_size < 0:
        raise SolverError(f"iter_size: {param.iter_size}; give at least 1")
    if kind in ("AdaGrad", "RMSProp") and param.momentum:
        raise SolverError(f"momentum: {param.momentum:g} cannot be used with {kind}; leave it out")
    if kind == "RMSProp" and not 0 <= param.rms_decay < 1:
        raise SolverError(f"rms_decay: {param.rms_decay:g}; give at least 0 and less than 1")
    _check_tests(param)


def check_train_net(param: SolverParameter) -> None:
    """Raise SolverError unless one net to train is given."""
    given = [name for name in _TRAIN_NETS if param.HasField(name)]
    if len(given) != 1:
        raise SolverError(
            f"the net to train must be given by one of {', '.join(_TRAIN_NETS)}, found "
            + (" and ".join(given) if given else "none of them")
        )


def _check_tests(param: SolverParameter) -> None:
    own, iterations = len(param.test_net_param) + len(param.test_net), len(param.test_iter)
    generic = param.HasField("net") or param.HasField("net_param")
    if iterations < own or (iterations > own and not generic):
        raise SolverError(
            f"{iterations} test_iter for {own} test net(s); give one for each"
            + (", and one more for each time the net itself is to be tested" if generic else "")
        )
    if param.test_state and len(param.test_state) != iterations:
        raise SolverError(
            f"{len(param.test_state)} test_state for {iterations} test net(s); give none, or one for each"
        )
    if iterations and param.test_interval <= 0:
        raise SolverError(f"there are test nets, and test_interval is {param.test_interval}; give 1 or more")


def train_net(param: SolverParameter, limits: Limits) -> Net:
    """The net to train, with the weights that the settings name."""
    where, source = _train_source(param)
    say("solver.cpp:102", f"Creating training net {where}")
    return _build(source, TRAIN, [param.train_state], param.weights, limits)


def test_nets(param: SolverParameter, limits: Limits) -> list[Net]:
    """The nets to test with: those of the settings' own, then the net itself as often as there are test_iter left."""
    nets = []
    for index, (where, source) in enumerate(_test_sources(param)):
        say("solver.cpp:190", f"Creating test net (#{index}) specified by {where}")
        nets.append(_build(source, TEST, param.test_state[index : index + 1], param.weights, limits))
    return nets


def _train_source(param: SolverParameter) -> tuple[str, str | NetParameter]:
    """The training net, and where it is said."""
    check_train_net(param)
    name = next(name for name in _TRAIN_NETS if param.HasField(name))
    value: str | NetParameter = getattr(param, name)
    return _SOURCES[name].format(value), value


def _test_sources(param: SolverParameter) -> list[tuple[str, str | NetParameter]]:
    sources: list[tuple[str, str | NetParameter]] = [
        *(("test_net_param", value) for value in param.test_net_param),
        *((f"test_net file: {value}", value) for value in param.test_net),
    ]
    itself: tuple[str, str | NetParameter] = (
        (f"net file: {param.net}", param.net) if param.HasField("net") else ("net_param", param.net_param)
    )
    return sources + [itself] * (len(param.test_iter) - len(sources))


def _build(
    source: str | NetParameter, phase: int, states: Iterable[NetState], weights: Iterable[str], limits: Limits
) -> Net:
    """A net in the state that its definition gives and then the solver; `weights` are lists of files."""
    if isinstance(source, str):
        limits.check_file(source)
    definition = read_definition(source)
    state = NetState(phase=phase)  # type: ignore[arg-type]
    for further in (definition.state, *states):
        state.MergeFrom(further)
    definition.ClearField("state")
    try:
        net = Net(definition, state.phase, level=state.level, stages=state.stage, limits=limits)
    except ProtoError as error:
        raise ProtoError(f"{source if isinstance(source, str) else definition.name}: {error}") from error
    for path in (path.strip() for paths in weights for path in paths.split(",")):
        limits.check_file(path)
        say("solver.cpp:72", f"Finetuning from {path}")
        net.copy_from(path)
    return net
