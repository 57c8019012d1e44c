"""Updates of network and formula along the same recorded gradients, at one coordinate of each tensor."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.metrics import r2
from rayl2o.symbolic.picture_fields import fields, number, numbers, text, whole
from rayl2o.symbolic.trajectories import Trajectories

WINDOW = 60
"""Steps that are shown of the beginning and of the end of a run."""
MOST = 6
"""Tensors, evenly over the network if it has more."""


@dataclass(frozen=True)
class Window:
    """Consecutive steps of a trace.

    Attributes:
        start: Updates made before its first step.
        network, formula: Displacements of the parameter, one per step.
    """

    start: int
    network: tuple[float, ...]
    formula: tuple[float, ...]

    @classmethod
    def from_json(cls, data: object) -> Window:
        """Inverse of ``dataclasses.asdict``.

        Raises:
            UserError: If a field is missing or of another type, or the lists differ in length.
        """
        found = fields(data, "a window of a trace")
        network, formula = numbers(found, "network"), numbers(found, "formula")
        if len(network) != len(formula):
            raise UserError("a trace whose lists differ in length", value=len(network), mend="distil again")
        return cls(whole(found, "start"), network, formula)


@dataclass(frozen=True)
class Trace:
    """What network and formula answer at one coordinate, the formula having seen the network's gradients from the start.

    Attributes:
        tensor: Name of the tensor.
        run: Which of the recorded runs.
        steps: How many steps the R2 is taken over: all that were recorded.
        r2: Of the formula's updates against the network's at this coordinate.
        windows: The beginning of the run, and its end if the run is longer than that.
    """

    tensor: str
    run: int
    steps: int
    r2: float
    windows: tuple[Window, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data (an R2 that is not finite becomes null); :meth:`from_json` reads it back."""
        return {**asdict(self), "r2": self.r2 if np.isfinite(self.r2) else None}

    @classmethod
    def from_json(cls, data: object) -> Trace:
        """Inverse of :meth:`to_json`.

        Raises:
            UserError: If a field is missing or of another type.
        """
        found = fields(data, "a trace")
        windows = found.get("windows")
        if not isinstance(windows, list | tuple):
            raise UserError("a trace needs a list of windows", value=sorted(found), mend="distil again")
        return cls(
            text(found, "tensor"),
            whole(found, "run"),
            whole(found, "steps"),
            number(found, "r2"),
            tuple(Window.from_json(window) for window in windows),
        )


@torch.no_grad()
def imitation_traces(formula: SymbolicRule, trajectories: Trajectories) -> tuple[Trace, ...]:
    """A trace per tensor, of up to :data:`MOST` tensors.

    The network's updates are those recorded. The coordinate is the one whose rms update is the median of its tensor in the
    first run that has it, so that nothing is picked by eye.

    Args:
        formula: What was distilled.
        trajectories: Of the learned rule.
    """
    columns = _columns(trajectories)
    grad = trajectories.grad[:, columns]
    time = torch.arange(len(grad), dtype=grad.dtype)[:, None]
    phi = formula.init_phi(dtype=grad.dtype)
    state = formula.init_state(phi, Layout.flat(len(columns)), 1, dtype=grad.dtype)["coord"][0]
    answers, _ = formula.sequence(phi, Inputs(grad=grad, step=time), {"coord": state})
    return tuple(_trace(trajectories, column, answers[:, i]) for i, column in enumerate(columns))


def _columns(trajectories: Trajectories) -> list[int]:
    first: dict[int, int] = {}
    for run, tensor in trajectories.cells():
        first.setdefault(tensor, run)
    names = sorted(first)
    kept = sorted({names[round(i)] for i in np.linspace(0, len(names) - 1, min(MOST, len(names)))})
    chosen = []
    for tensor in kept:
        inside = ((trajectories.tensor == tensor) & (trajectories.run == first[tensor])).nonzero()[:, 0]
        # Steps beyond ``valid`` hold zeros, which would make a diverged column look quiet.
        size = trajectories.delta[:, inside].double().square().sum(0) / trajectories.valid[inside].clamp(min=1)
        chosen.append(int(inside[size.argsort()[(len(inside) - 1) // 2]]))
    return chosen


def _trace(trajectories: Trajectories, column: int, answers: Tensor) -> Trace:
    valid = int(trajectories.valid[column])
    network = trajectories.delta[:valid, column].double().numpy()
    formula = answers[:valid].double().numpy()
    starts = [0] if valid <= WINDOW else [0, max(WINDOW, valid - WINDOW)]
    windows = tuple(
        Window(start, tuple(network[start : start + WINDOW].tolist()), tuple(formula[start : start + WINDOW].tolist()))
        for start in starts
    )
    name = trajectories.tensors[int(trajectories.tensor[column])]
    return Trace(name, int(trajectories.run[column]), valid, r2(network, formula), windows)
