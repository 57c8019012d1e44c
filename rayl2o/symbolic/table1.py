"""The five known rules of S, Table 1, on gradients of our own: what an engine of symbolic regression must recover.

Data differ from the paper's (a small digits network instead of ResNet-50), so its R2 is a yardstick, not a contest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.classic import Sgd
from rayl2o.seeds import derive_seed
from rayl2o.symbolic.engines.base import Data, Floats
from rayl2o.symbolic.runs import Runs
from rayl2o.symbolic.trajectories import collect
from rayl2o.tasks.registry import task

LAGS = 20
"""Columns ``g0`` (newest) to ``g19``."""
ROWS = 5000
PER_TENSOR = 200
"""Coordinates recorded of each tensor: the small tensors give all they have."""
EARLY, LATE = (20, 200), (400, 600)
"""Steps [first, last) from which rows are drawn."""
LEARNING_RATE, BATCH_SIZE, INIT_STD = 0.1, 64, 0.1
_EPSILON = 1e-8


def _filtered(g: Floats, beta: float, weight: float) -> Floats:
    """``e = beta e + weight g`` from 0 along the first axis."""
    state, out = np.zeros_like(g[0]), np.empty_like(g)
    for step, value in enumerate(g):
        state = beta * state + weight * value
        out[step] = state
    return out


def _lagged(g: Floats, lag: int) -> Floats:
    return np.concatenate([np.zeros_like(g[:lag]), g[: len(g) - lag]])


def _adam(g: Floats) -> Floats:
    correction = 1 - 0.9 ** np.arange(1, len(g) + 1)[:, None]
    m, v = _filtered(g, 0.9, 0.1) / correction, _filtered(g * g, 0.9, 0.1) / correction
    return m / (np.sqrt(v) + _EPSILON)


TARGETS: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType(
    {
        "a": lambda g: -0.01 * g,
        "b": lambda g: np.sum([(1 - 0.1 * i) * _lagged(g, i) for i in range(11)], axis=0),
        "c": lambda g: g * g + _lagged(g, 1) + 2 * _lagged(g, 2) + np.exp(_lagged(g, 4)),
        "d": lambda g: _filtered(g, 0.6, 1.0),
        "e": _adam,
    }
)
"""By the paper's row, from whole trajectories ``[U, N]`` of unit variance: scaled gradient; FIR filter; nonlinear sum;
momentum .6; Adam(.9, .9). Rows d and e remember more than the 20 lags that an engine sees."""


def table1(target: str, data_seed: int, late: bool = False) -> tuple[Data, Data, Data]:
    """Training, validation and test rows of a target, from three runs (other initialisations and minibatches).

    Histories of 20 gradients of an MLP 64-32-10 (tanh) on the digits, trained by SGD. Gradients are divided by one standard
    deviation and targets by another, both of the training run, in all three. A group is one coordinate of a run.

    Args:
        target: A key of :data:`TARGETS`.
        data_seed: Names the three runs.
        late: Rows from steps :data:`LATE`, where gradients are nearly white, instead of :data:`EARLY`.

    Raises:
        UserError: If there is no such target, or the seed is negative.
    """
    if target not in TARGETS:
        raise unknown_name("target of Table 1", target, TARGETS)
    if data_seed < 0:
        raise UserError("a data seed is not negative", value=data_seed, mend="use 0 or more")
    window = LATE if late else EARLY
    grads = {role: _gradients(data_seed, role, window[1]) for role in ("collect", "validate", "select")}
    scale = float(grads["collect"][window[0] :].std())
    parts = [
        _rows(grad / scale, TARGETS[target], window, derive_seed(data_seed, "table1", role))
        for role, grad in grads.items()
    ]
    spread = float(parts[0].y.std())
    train, val, test = (Data(part.names, part.x, part.y / spread, part.group) for part in parts)
    return train, val, test


def _gradients(data_seed: int, role: str, steps: int) -> Floats:
    family = task("mlp", data="digits", hidden=(32,), activation="tanh", batch_size=BATCH_SIZE, init_std=INIT_STD)
    rule = Sgd(lr=LEARNING_RATE)
    with torch.no_grad():
        path = collect(rule, {}, Runs(family, data_seed, role, 1), steps, PER_TENSOR, data_seed)
    grads: Floats = path.grad.double().numpy()
    return grads


def _rows(g: Floats, answer: Callable[[Floats], Floats], window: tuple[int, int], seed: int) -> Data:
    draws = np.random.default_rng(seed)
    steps, columns = draws.integers(*window, ROWS), draws.integers(0, g.shape[1], ROWS)
    x = np.stack([g[steps - lag, columns] for lag in range(LAGS)], axis=1)
    return Data(tuple(f"g{lag}" for lag in range(LAGS)), x, answer(g)[steps, columns], columns)
