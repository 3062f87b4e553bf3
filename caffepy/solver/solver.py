"""pycaffe's solvers: training by steps, tests, snapshots (Caffe: src/caffe/solver.cpp, sgd_solver.cpp)."""

import logging
import math
import time
from collections.abc import Callable
from os import PathLike, fspath
from typing import Any, ClassVar, Literal

import numpy as np

from caffepy.blob import Blob
from caffepy.device.ranks import solver_rank
from caffepy.errors import CaffeError, NotFiniteError, SolverError, nearest
from caffepy.limits import Limits
from caffepy.proto.caffe_pb2 import SolverParameter
from caffepy.pycaffe import Net
from caffepy.rng import set_random_seed
from caffepy.solver import debug, nets, policies, snapshot
from caffepy.solver.finite import first_not_finite
from caffepy.solver.log import SmoothedLoss, output_lines, output_values, say
from caffepy.solver.rules import RULES
from caffepy.solver.update import Clearing, Update

Action = Literal["none", "snapshot", "stop"]
"""What may be asked of a solver between iterations."""


class Solver:
    """A net to train, nets to test it with, and how it is updated.

    `param_file` is a solver's prototxt, or a SolverParameter. Raises SolverError for settings that do not go together,
    and what building a Net raises. While training, a loss that is NaN or infinite raises NotFiniteError unless
    `allow_nan` says to go on, as Caffe does. `limits` says which files the settings and the nets may name, and what
    else a net may do.
    """

    type: ClassVar[str]

    def __init__(
        self,
        param_file: str | PathLike[str] | SolverParameter,
        *,
        allow_nan: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.param = param = nets.read_solver(param_file)
        """The settings; those of an iteration are read anew at each."""
        say("solver.cpp:45", f"Initializing solver from parameters: \n{param}".rstrip())
        nets.check(param, self.type)
        if param.snapshot:
            snapshot.check_prefix(param.snapshot_prefix, self.limits)
        if param.random_seed >= 0:
            set_random_seed(param.random_seed + solver_rank())
        self.allow_nan = allow_nan
        self.iter = 0
        """How often the weights have been updated."""
        self.current_step = 0
        self.net = nets.train_net(param, self.limits)
        """The net that is trained."""
        self.net.param_diffs.asked = True
        self.test_nets = nets.test_nets(param, self.limits)
        """The nets it is tested with; they have its weights from their first test on."""
        self.requested_action: Callable[[], Action] = _nothing
        """Asked between iterations whether to write a snapshot or stop."""
        self._update = Update(self.net, RULES[self.type], param)
        self._clearing = Clearing(self._update)
        self._callbacks: list[tuple[Callable[[], object], Callable[[], object]]] = []
        self._smoothed = SmoothedLoss(1, 0)
        self._stopped = self._stepped = self._unsaved = False
        self._shown_at = 0, time.monotonic()
        say("solver.cpp:57", "Solver scaffolding done.")

    # ---- what there is

    @property
    def base_lr(self) -> float:
        """The rate that the policy starts from; may be set."""
        return self.param.base_lr

    @base_lr.setter
    def base_lr(self, value: float) -> None:
        self.param.base_lr = value

    @property
    def max_iter(self) -> int:
        """Where `solve` ends; may be set."""
        return self.param.max_iter

    @max_iter.setter
    def max_iter(self, value: int) -> None:
        self.param.max_iter = value

    @property
    def lr(self) -> float:
        """The rate of the next update, before lr_mult."""
        return policies.learning_rate(self.param, self.iter, self.current_step)[0]

    @property
    def smoothed_loss(self) -> float:
        """The loss as it is logged: the mean over the last average_loss iterations."""
        return self._smoothed.value

    @property
    def stopped_early(self) -> bool:
        """Whether the last `step` or `solve` was asked to stop."""
        return self._stopped

    def add_callback(self, on_start: Any, on_gradients_ready: Callable[[], object] | None = None) -> None:
        """Call `on_start()` before each iteration's first pass, and `on_gradients_ready()` before its update.

        An NCCL alone, which has both, will do.
        """
        if on_gradients_ready is None:
            on_start, on_gradients_ready = on_start.on_start, on_start.on_gradients_ready
        self._callbacks.append((on_start, on_gradients_ready))

    def share_weights(self, net: Net) -> None:
        """Let another net use the memory of the trained net's weights, by layer name."""
        net.share_with(self.net)

    # ---- training

    def solve(self, resume_file: str | PathLike[str] | None = None) -> None:
        """Train until iteration max_iter, from a .solverstate on if one is given; then snapshot and test once more."""
        say("solver.cpp:289", f"Solving {self.net.param.name}")
        say("solver.cpp:290", f"Learning Rate Policy: {self.param.lr_policy}")
        self._stopped = False
        if resume_file:
            say("solver.cpp:297", f"Restoring previous solver status from {fspath(resume_file)}")
            self.restore(resume_file)
        self.step(self.param.max_iter - self.iter)
        saved = self.param.snapshot and self.iter % self.param.snapshot == 0
        if self._unsaved or (self.param.snapshot_after_train and not saved):
            self.snapshot()
        if self._stopped:
            say("solver.cpp:311", "Optimization stopped early.")
            return
        if self.param.display and self.iter % self.param.display == 0:
            loss = self.net.forward_from_to(0, len(self.net.execution.layers) - 1)
            self._smoothed.add(loss, self.iter)
            say("solver.cpp:327", f"Iteration {self.iter}, loss = {self.smoothed_loss:g}")
        if self.param.test_interval and self.iter % self.param.test_interval == 0:
            self.test_all()
        say("solver.cpp:332", "Optimization Done.")

    def step(self, iters: int) -> None:
        """Run that many iterations: forward and backward iter_size times each, then an update."""
        self._smoothed = SmoothedLoss(self.param.average_loss, self.iter)
        self._shown_at = self.iter, time.monotonic()
        stop_at = self.iter + iters
        while self.iter < stop_at and self._iterate():
            pass

    def _iterate(self) -> bool:
        """One iteration; whether to go on."""
        param = self.param
        self.net.run(self._clearing)
        interval = param.test_interval
        if interval and self.iter % interval == 0 and (self.iter or param.test_initialization):
            self.test_all()
            if self._stopped:
                return False
        for on_start, _ in self._callbacks:
            on_start()
        display = bool(param.display) and self.iter % param.display == 0
        shown = display and param.debug_info
        at_once = not (self._callbacks or shown) and param.iter_size > 0
        rate = self._prepare_update() if at_once else 0.0
        loss = 0.0
        with debug.shown(self.net, shown):
            for i in range(param.iter_size):
                loss += self._pass(at_once and i == param.iter_size - 1)
                if shown:
                    debug.totals(self.net)
        if not (param.iter_size or self.allow_nan):
            raise SolverError("iter_size: 0 makes every weight NaN; give at least 1, or allow_nan to do as Caffe does")
        self._smoothed.add(loss / param.iter_size if param.iter_size else math.nan, self.iter)
        if display:
            self._show()
        for _, on_gradients_ready in self._callbacks:
            on_gradients_ready()
        if at_once:
            self._updated(rate)
        else:
            self.apply_update()
        return self._answer_request()

    def _pass(self, update: bool) -> float:
        """Forward and backward, with the update behind it if it is the last; the loss."""
        last = len(self.net.execution.layers) - 1
        loss = self.net.forward_from_to(0, last)
        if not (self.allow_nan or math.isfinite(loss)):
            raise NotFiniteError(
                f"iteration {self.iter}: the loss is {loss:g}; {first_not_finite(self.net) or 'it overflowed'}. "
                "Lower base_lr, or set clip_gradients; allow_nan goes on as Caffe does"
            )
        self.net.backward_from_to(last, 0, self._update if update else None)
        return loss

    def apply_update(self) -> None:
        """Update the weights from the diffs that are there, and count an iteration."""
        rate = self._prepare_update()
        self.net.run(self._update)
        self._updated(rate)

    def _prepare_update(self) -> float:
        """The rate, once the update has its settings."""
        rate, step = policies.learning_rate(self.param, self.iter, self.current_step)
        if not (self.allow_nan or math.isfinite(rate)):
            raise SolverError(f"iteration {self.iter}: lr_policy {self.param.lr_policy!r} gives a rate of {rate:g}")
        self._update.set(self.param, self.iter, rate)
        self._stepped = self.param.lr_policy == "multistep" and step != self.current_step
        self.current_step = step
        return rate

    def _updated(self, rate: float) -> None:
        """Log an update, and count it."""
        if self._stepped:
            say("sgd_solver.cpp:50", f"MultiStep Status: Iteration {self.iter}, step = {self.current_step}")
        if self.param.display and self.iter % self.param.display == 0:
            say("sgd_solver.cpp:112", f"Iteration {self.iter}, lr = {rate:g}")
        if self._update.clips:
            factor, norm = self._update.clipped
            if factor != 1:
                say(
                    "sgd_solver.cpp:125",
                    f"Gradient clipping: scaling down gradients (L2 norm {norm:g} > {self.param.clip_gradients:g}) by "
                    f"scale factor {factor:g}",
                )
        self.iter += 1

    def _answer_request(self) -> bool:
        """Write a snapshot if one is due or asked for; whether to go on."""
        request = self.requested_action()
        if (self.param.snapshot and self.iter % self.param.snapshot == 0) or request == "snapshot":
            self._try_snapshot()
        self._stopped = request == "stop"
        return not self._stopped

    def _show(self) -> None:
        """Log iteration, speed, loss and the outputs of the trained net."""
        (since, start), now = self._shown_at, time.monotonic()
        seconds, self._shown_at = now - start, (self.iter, now)
        speed = (self.iter - since) / (seconds or 1)
        say(
            "solver.cpp:239",
            f"Iteration {self.iter} ({speed:g} iter/s, {seconds:g}s/{self.param.display} iters), "
            f"loss = {self.smoothed_loss:g}",
        )
        for line in output_lines("Train", self.net, output_values(self.net)):
            say("solver.cpp:258", line)

    # ---- testing

    def test_all(self) -> None:
        """Test every test net, unless it is asked to stop; of parallel solvers the first does."""
        if solver_rank():
            return
        for index in range(len(self.test_nets)):
            if self._stopped:
                break
            self._test(index)

    def _test(self, index: int) -> None:
        say("solver.cpp:347", f"Iteration {self.iter}, Testing net (#{index})")
        net = self.test_nets[index]
        self.share_weights(net)
        iterations, loss, sums = self.param.test_iter[index], 0.0, np.zeros(0)
        with debug.shown(net, self.param.debug_info):
            for _ in range(iterations):
                if self._stop_while_testing():
                    say("solver.cpp:385", "Test interrupted.")
                    return
                loss += net.forward_from_to(0, len(net.execution.layers) - 1)
                values = output_values(net)
                sums = sums + values if sums.size else values
        if self.param.test_compute_loss:
            say("solver.cpp:391", f"Test loss: {loss / (iterations or 1):g}")
        for line in output_lines("Test", net, sums / (iterations or 1)):
            say("solver.cpp:414", line)

    def _stop_while_testing(self) -> bool:
        while (request := self.requested_action()) != "none":
            if request == "snapshot":
                self._try_snapshot()
            else:
                self._stopped = True
        return self._stopped

    # ---- snapshots

    def snapshot(self) -> str:
        """Write the weights and the solver's state under snapshot_prefix; the name of the .solverstate.

        Of parallel solvers the first does, and the others give "".

        Raises MissingFileError or ProtoError where they cannot be written.
        """
        if solver_rank():
            return ""
        return snapshot.write(self.param, self.net, self.iter, self.current_step, self._history)

    def restore(self, state_file: str | PathLike[str]) -> None:
        """Go on from a .solverstate or .solverstate.h5, and the weights that it names.

        The weights may also lie beside it. Raises MissingFileError, ProtoError, SolverError or WeightsError; the solver
        is then as it was.
        """
        path = fspath(state_file)
        state, history = snapshot.read(path), self._history
        snapshot.fit(state, history, path)
        if state.learned_net:
            self.net.copy_from(snapshot.beside(path, state.learned_net, self.limits))
        self.iter, self.current_step = state.iteration, state.current_step
        say("sgd_solver.cpp:335", "SGDSolver: restoring history")
        for values, blob in zip(state.history, history, strict=True):
            if values.any():  # untouched history stays zero, and is never allocated
                blob.data[...] = values.reshape(blob.shape)
            elif blob.data_storage.generation:
                blob.data[...] = 0

    @property
    def _history(self) -> list[Blob]:
        return [blob for blobs in self._update.histories for blob in blobs]

    def _try_snapshot(self) -> None:
        """Write a snapshot; where that fails, say so and go on."""
        try:
            self.snapshot()
            self._unsaved = False
        except CaffeError as error:
            self._unsaved = True
            say(
                "solver.cpp:448",
                f"no snapshot at iteration {self.iter}: {error}; training goes on, the next snapshot tries again",
                logging.ERROR,
            )


class SGDSolver(Solver):
    """Stochastic gradient descent with momentum."""

    type = "SGD"


class NesterovSolver(Solver):
    """Nesterov's accelerated gradient (Sutskever et al. 2013)."""

    type = "Nesterov"


class AdaGradSolver(Solver):
    """AdaGrad (Duchi, Hazan & Singer 2011)."""

    type = "AdaGrad"


class RMSPropSolver(Solver):
    """RMSProp (Tieleman & Hinton 2012)."""

    type = "RMSProp"


class AdaDeltaSolver(Solver):
    """AdaDelta (Zeiler 2012)."""

    type = "AdaDelta"


class AdamSolver(Solver):
    """Adam (Kingma & Ba 2015)."""

    type = "Adam"


SOLVERS: dict[str, type[Solver]] = {
    solver.type: solver
    for solver in (SGDSolver, NesterovSolver, AdaGradSolver, RMSPropSolver, AdaDeltaSolver, AdamSolver)
}
"""By the `type` of a solver's prototxt."""


def get_solver(
    param_file: str | PathLike[str] | SolverParameter, *, allow_nan: bool = False, limits: Limits | None = None
) -> Solver:
    """The solver of the type that its prototxt names. Raises SolverError where there is no such type."""
    param = nets.read_solver(param_file)
    if param.type not in SOLVERS:
        raise SolverError(
            f"type: there is no solver {param.type!r}{nearest(param.type, SOLVERS)}; there are {', '.join(SOLVERS)}"
        )
    return SOLVERS[param.type](param, allow_nan=allow_nan, limits=limits)


def _nothing() -> Action:
    return "none"
