"""Snapshots: a net's weights, and beside them the solver's iteration and history (Caffe: sgd_solver.cpp)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffepy.blob import Blob, Floats
from caffepy.errors import CaffeError, ProtoError, SolverError
from caffepy.limits import Limits
from caffepy.net import Net
from caffepy.proto.binary_write import blob_parts, size
from caffepy.proto.caffe_pb2 import SolverParameter, SolverState
from caffepy.proto.caffemodel import blob_array
from caffepy.proto.files import HEAD, kind_of, open_binary, remedy, replacing
from caffepy.proto.hdf5 import new_hdf5
from caffepy.proto.hdf5_file import open_hdf5
from caffepy.proto.wire import prefix
from caffepy.solver.log import say


@dataclass(frozen=True)
class State:
    """What a .solverstate holds."""

    iteration: int
    learned_net: str
    """The file of the weights; empty if there is none."""
    current_step: int
    history: list[Floats]


def write(param: SolverParameter, net: Net, iteration: int, current_step: int, history: Sequence[Blob]) -> str:
    """Write weights and state under the prefix; the name of the state's file.

    Where the state cannot be written, weights that no state goes with are removed again. Raises MissingFileError or
    ProtoError.
    """
    hdf5 = param.snapshot_format == SolverParameter.HDF5
    kind, ending = ("HDF5", ".h5") if hdf5 else ("binary proto", "")
    model, state = (
        f"{param.snapshot_prefix}_iter_{iteration}{name}{ending}" for name in (".caffemodel", ".solverstate")
    )
    say("solver.cpp:464", f"Snapshotting to {kind} file {model}")
    net.save(model, diffs=param.snapshot_diff)
    say("sgd_solver.cpp:284", f"Snapshotting solver state to {kind} file {state}")
    try:
        with replacing(state) as beside:
            (_write_hdf5 if hdf5 else _write_binary)(
                beside, State(iteration, model, current_step, [_values(blob) for blob in history])
            )
    except (CaffeError, OSError):
        if not os.path.exists(state):
            os.unlink(model)
        raise
    return state


def _values(blob: Blob) -> Floats:
    """For reading; of a blob that was never used zeros, without making its memory."""
    if not blob.data_storage.generation:
        return np.zeros(blob.shape, np.float32)
    return blob.read()


def check_prefix(prefix: str, limits: Limits) -> None:
    """Raise SolverError unless files can be written under the prefix, NotAllowedError if they may not."""
    limits.check_file(prefix)
    folder = os.path.dirname(prefix) or "."
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise SolverError(
            f"snapshot_prefix: {prefix!r}: cannot write there; make the folder {folder!r} and see that it is writable"
        )


def read(path: str) -> State:
    """A state that real Caffe or caffepy wrote. Raises MissingFileError, ProtoError."""
    with open_binary(path) as file:
        head = file.read(HEAD)
        kind = kind_of(head)
        if kind == "hdf5":
            return _read_hdf5(path)
        if kind != "binary" and not head.startswith(b"\x08"):
            raise ProtoError(f"{path}: expected a solverstate; {remedy(kind) or f'found {kind}'}")
        content = head + file.read()
    state = SolverState()
    try:
        state.ParseFromString(content)
        if not state.HasField("iter"):
            raise ProtoError(f"{path}: expected a solverstate, and it names no iteration")
        return State(state.iter, state.learned_net, state.current_step, [blob_array(blob) for blob in state.history])
    except ProtoError:
        raise
    except Exception as error:
        raise ProtoError(f"{path}: not a whole solverstate ({error}); copy or write it again") from error


def beside(path: str, learned_net: str, limits: Limits) -> str:
    """Where the weights of a state are: where it says, or beside it if there is nothing there."""
    own = os.path.join(os.path.dirname(path), os.path.basename(learned_net))
    if not os.path.exists(learned_net) and os.path.exists(own):
        return own
    limits.check_file(learned_net)
    return learned_net


def fit(state: State, histories: Sequence[Blob], path: str) -> None:
    """Raise SolverError unless the state's history is as many values as the solver's, blob by blob."""
    if len(state.history) != len(histories):
        raise SolverError(
            f"{path}: holds {len(state.history)} history blobs, this solver has {len(histories)}; resume with the type "
            "of solver and the net that wrote it"
        )
    for index, (found, blob) in enumerate(zip(state.history, histories, strict=True)):
        if found.size != blob.count:
            raise SolverError(
                f"{path}: history blob {index} has shape {found.shape}, the solver's has {blob.shape}; resume with the "
                "net that wrote it"
            )


def _write_binary(path: str, state: State) -> None:
    """In the order of fields in which Caffe writes them."""
    place = SolverState.HISTORY_FIELD_NUMBER
    with open(path, "wb") as file:
        file.write(SolverState(iter=state.iteration, learned_net=state.learned_net).SerializeToString())
        for values in state.history:
            parts = blob_parts(values, None)
            for part in (prefix(place, size(parts)), *parts):
                file.write(part if isinstance(part, bytes) else np.ascontiguousarray(part, "<f4").data)
        file.write(SolverState(current_step=state.current_step).SerializeToString())


def _write_hdf5(path: str, state: State) -> None:
    with new_hdf5(path) as file:
        file.create_dataset("iter", data=np.array([state.iteration], "<i4"))
        _write_string(file, "learned_net", os.fsencode(state.learned_net) + b"\0")
        file.create_dataset("current_step", data=np.array([state.current_step], "<i4"))
        group = file.create_group("history")
        for index, values in enumerate(state.history):
            group.create_dataset(str(index), data=np.asarray(values, "<f4"))


def _write_string(file: Any, name: str, text: bytes) -> None:
    """As H5LTmake_dataset_string does, which Caffe calls: of fixed size, ended by a zero byte."""
    from h5py import h5d, h5s, h5t

    kind = h5t.C_S1.copy()
    kind.set_size(len(text))
    kind.set_strpad(h5t.STR_NULLTERM)
    dataset = h5d.create(file.id, name.encode(), kind, h5s.create(h5s.SCALAR))
    dataset.write(h5s.ALL, h5s.ALL, np.array(text, f"S{len(text)}"), mtype=kind)


def _read_hdf5(path: str) -> State:
    try:
        with open_hdf5(path) as file:
            step = file.values("current_step") if "current_step" in file.names else np.zeros(1)
            name = file.values("learned_net", text=True) if "learned_net" in file.names else np.zeros(1, "S1")
            _, history = next(file.walk("history"))
            return State(
                int(np.ravel(file.values("iter"))[0]),
                os.fsdecode(bytes(np.ravel(name)[0])).rstrip("\0"),
                int(np.ravel(step)[0]),
                [np.asarray(file.values(f"history/{i}"), np.float32) for i in range(len(history))],
            )
    except (ProtoError, ValueError, TypeError, IndexError) as error:
        raise ProtoError(f"{path}: not a whole HDF5 solverstate ({error}); copy or write it again") from error
