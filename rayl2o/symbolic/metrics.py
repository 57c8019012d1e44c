"""How well a formula fits and how far back a rule looks: R2, eq. 3 of S, and slopes where eq. 3 does not apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from sklearn.metrics import r2_score
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Rule
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Operand
from rayl2o.symbolic.filters import FilterTerm, responses
from rayl2o.symbolic.table import Floats
from rayl2o.symbolic.trajectories import Trajectories

HORIZON = 20
"""T of S: lags 0..19."""


def r2(y: Floats, predicted: Floats) -> float:
    """Coefficient of determination on these rows (scikit-learn's, as S); -inf if a prediction is not finite, nan below 2 rows."""
    if len(y) < 2:
        return float("nan")
    if not np.isfinite(predicted).all():
        return float("-inf")
    return float(r2_score(y, predicted))


def impulse_response(terms: Mapping[Operand, float], horizon: int = HORIZON) -> dict[str, Floats]:
    """c_i = d output[t] / d signal[t-i] of a linear rule, ``[horizon]`` per signal; an average spreads over all lags."""
    return responses((FilterTerm(operand, weight) for operand, weight in terms.items()), horizon)


def tpf_of(weights: Floats) -> float:
    """Temporal perception field, S eq. 3: sum_i |c_i| i / sum_i |c_i| over lags i = 0, 1, ...; 0 if every c_i is 0."""
    size = np.abs(weights)
    return float(size @ np.arange(len(size)) / size.sum()) if size.sum() > 0 else 0.0


def tpf(expression: Expression, horizon: int = HORIZON) -> dict[str, float]:
    """TPF of a linear formula per signal, by its impulse response (for lags these are the coefficients of S).

    Raises:
        UserError: If the formula is not linear without offset; :func:`sensitivity` takes any rule.
    """
    terms = expression.linear_terms()
    if terms is None:
        raise UserError(
            "eq. 3 needs a linear formula without offset", value=str(expression), mend="use the sensitivity form of TPF"
        )
    return {signal: tpf_of(weights) for signal, weights in impulse_response(terms, horizon).items()}


def sensitivity(
    rule: Rule, phi: Mapping[str, Tensor], trajectories: Trajectories, horizon: int = HORIZON, chunks: int = 16
) -> Floats:
    """Mean |d delta[t] / d grad[t-i]| over recorded steps and coordinates, ``[horizon]``: eq. 3's weights for any rule.

    Each coordinate counts in the unit of its own rms gradient, so that those with small gradients do not drown the others
    where the rule normalises; on a rule linear in the gradient this factor cancels. Exact by autograd in the rule's
    precision: ``chunks`` windows of ``horizon`` steps, spread evenly over the trajectories, with the true state before each.

    Raises:
        UserError: If the trajectories are shorter than the horizon.
    """
    grad = trajectories.grad
    layout = Layout.flat(grad.shape[1])

    def run(window: Tensor, start: int, state: Tensor) -> tuple[Tensor, Tensor]:
        step = torch.arange(start, start + len(window), dtype=grad.dtype)[:, None]
        deltas, new = rule.sequence(phi, Inputs(grad=window[:, 0], step=step), {"coord": state})
        return deltas, new["coord"]

    state = rule.init_state(phi, layout, 1, dtype=grad.dtype)["coord"][0]
    slopes = mean_slopes(run, state, grad[:, None], trajectories.valid, horizon, chunks)
    return np.asarray(slopes[0], dtype=np.float64)


def mean_slopes(
    run: Callable[[Tensor, int, Tensor], tuple[Tensor, Tensor]],
    state: Tensor,
    inputs: Tensor,
    valid: Tensor,
    horizon: int,
    chunks: int,
) -> Floats:
    """Mean |d output[t] / d input[t-i]| x rms of the input, ``[F, horizon]``; ``run`` maps a window ``[T, F, N]`` of inputs."""
    steps = len(inputs)
    if steps < horizon:
        raise UserError(
            "trajectories are shorter than the horizon of TPF", value=steps, mend=f"record {horizon} or more steps"
        )
    scale = inputs.square().mean(0).sqrt()
    starts = sorted({int(s) for s in np.linspace(0, steps - horizon, chunks)})
    total, done = torch.zeros(horizon, inputs.shape[1], dtype=torch.float64), 0
    for start in starts:
        if start > done:
            with torch.no_grad():
                _, state = run(inputs[done:start], done, state)
            done = start
        window = inputs[start : start + horizon].clone().requires_grad_()
        outputs, _ = run(window, start, state)
        (slope,) = torch.autograd.grad(outputs[-1].sum(), window)
        live = valid >= start + horizon
        if bool(live.any()):
            total += (slope.abs() * scale)[:, :, live].double().mean(2).flip(0)
    return np.asarray(total.t().numpy() / len(starts), dtype=np.float64)
