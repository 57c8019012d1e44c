"""How well a formula fits, how far back a rule looks, how complex it is: R2, TPF and MC of S, for formulas and networks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from sklearn.metrics import r2_score
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Rule
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Ema, Lag, Operand
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
    lags = np.arange(horizon)
    response: dict[str, Floats] = {}
    for operand, weight in terms.items():
        if isinstance(operand, Ema):
            part = (1 - operand.beta) * operand.beta**lags
        else:
            part = (lags == (operand.lag if isinstance(operand, Lag) else 0)).astype(np.float64)
        response[operand.signal] = response.get(operand.signal, np.zeros(horizon)) + weight * part
    return response


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
    """
    grad = trajectories.grad
    steps, width = grad.shape
    if steps < horizon:
        raise UserError(
            "trajectories are shorter than the horizon of TPF", value=steps, mend=f"record {horizon} steps or more"
        )
    scale = grad.square().mean(0).sqrt()
    layout = Layout.flat(width)
    state = rule.init_state(phi, layout, 1, dtype=grad.dtype)
    state = {**state, "coord": state["coord"][0]}
    starts = sorted({int(s) for s in np.linspace(0, steps - horizon, chunks)})
    total, done = torch.zeros(horizon, dtype=torch.float64), 0
    for start in starts:
        if start > done:
            with torch.no_grad():
                _, state = rule.sequence(phi, Inputs(grad=grad[done:start], step=_time(done, start, grad)), state)
            done = start
        window = grad[start : start + horizon].clone().requires_grad_()
        deltas, _ = rule.sequence(phi, Inputs(grad=window, step=_time(start, start + horizon, grad)), state)
        (slope,) = torch.autograd.grad(deltas[-1].sum(), window, allow_unused=True)
        live = trajectories.valid >= start + horizon
        if slope is not None and bool(live.any()):
            total += (slope.abs() * scale)[:, live].double().mean(1).flip(0)
    return total.numpy() / len(starts)


def _time(first: int, last: int, like: Tensor) -> Tensor:
    return torch.arange(first, last, dtype=like.dtype)[:, None]
