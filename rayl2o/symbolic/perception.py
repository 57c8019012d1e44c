"""TPF of S for each input of any coordinate-wise rule: eq. 3 where it applies, by the slopes of the rule where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Rule
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import OperandBank, Signal
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.filters import filter_terms, response_of, responses
from rayl2o.symbolic.metrics import HORIZON, mean_slopes, sensitivity, tpf_of
from rayl2o.symbolic.table import Floats
from rayl2o.symbolic.trajectories import Trajectories

LINEAR, TANH, SENSITIVITY = "eq. 3", "eq. 3 at small inputs", "sensitivity"


@dataclass(frozen=True)
class Perception:
    """How far back a rule looks.

    Attributes:
        weights: Size of the influence of each lag 0, 1, ..., ``[horizon]`` by input, in an arbitrary unit per input.
        method: :data:`LINEAR` (coefficients), :data:`TANH` (their slopes at 0, of sums of tanh) or :data:`SENSITIVITY` (mean
            modulus of the derivative along recorded trajectories).
    """

    weights: Mapping[str, Floats]
    method: str

    @property
    def tpf(self) -> dict[str, float]:
        """Temporal perception field by input, in steps: 0 for one of which only the current value is read."""
        return {name: tpf_of(weights) for name, weights in self.weights.items()}


@runtime_checkable
class Featured(Protocol):
    """A learned rule that feeds features, not the gradient, to a network."""

    output_scale: float

    @property
    def network(self) -> Any:
        """With ``state_size`` and ``step(phi, features, state)``."""

    def features(self, phi: Mapping[str, Tensor], grads: Tensor) -> Mapping[str, Tensor]:
        """Features ``[U, N]`` by name over gradients ``[U, N]`` from the fresh state."""


def perceive(rule: Rule, phi: Mapping[str, Tensor], trajectories: Trajectories, horizon: int = HORIZON) -> Perception:
    """Of any coordinate-wise rule, input by input: a formula's signals, the features of RNNprop, else the gradient ``g``.

    Linear and tanh filters need no trajectories and get eq. 3; the same number comes out of their slopes (tanh: at small
    inputs). A formula's clamp is left out: where it holds, no input has influence.

    Args:
        rule, phi: The rule; ``phi`` may be empty for one without weights, and for a formula as it stands.
        trajectories: Of the rule on its tasks, ``horizon`` steps or more.
        horizon: T of S.

    Raises:
        UserError: If the rule treats tensors as a whole, or reads parameters or the loss, or the trajectories are too short.
    """
    if not rule.coordinatewise or rule.needs:
        reads = "whole tensors" if not rule.coordinatewise else ", ".join(sorted(rule.needs))
        raise UserError(
            f"TPF is of rules that read their own gradient alone, this one reads {reads}",
            value=rule.kind,
            mend="measure a coordinate-wise rule, such as dm or rnnprop",
        )
    if isinstance(rule, SymbolicRule):
        return perceive_formula((rule.with_phi(phi) if phi else rule).expression, trajectories, horizon)
    if isinstance(rule, Featured):
        return Perception(_featured(rule, phi, trajectories, horizon), SENSITIVITY)
    return Perception({"g": sensitivity(rule, phi, trajectories, horizon)}, SENSITIVITY)


def perceive_formula(
    expression: Expression, trajectories: Trajectories | None = None, horizon: int = HORIZON
) -> Perception:
    """Of a formula, by signal (the time ``t``, of which there is no past, is left out).

    Raises:
        UserError: If the formula is no filter and there are no trajectories, or too short ones.
    """
    terms = filter_terms(expression)
    if terms is not None:
        lagged = [term for term in terms if term.operand.signal != "t"]
        linear = all(term.inner is None for term in terms)
        return Perception(responses(lagged, horizon), LINEAR if linear else TANH)
    if trajectories is None:
        raise UserError(
            "eq. 3 needs a linear formula or a sum of tanh",
            value=str(expression),
            mend="give trajectories to measure on",
        )
    return Perception(formula_slopes(expression, trajectories, horizon), SENSITIVITY)


def formula_slopes(expression: Expression, trajectories: Trajectories, horizon: int = HORIZON) -> dict[str, Floats]:
    """Mean modulus of d formula[t] / d signal[t - i] over recorded steps and coordinates, ``[horizon]`` by signal.

    Exact: the slope to each operand times the impulse response of the operand's filter, the operands of a signal added before
    the modulus. Each coordinate counts in the unit of its own rms signal, as in :func:`~rayl2o.symbolic.metrics.sensitivity`.

    Raises:
        UserError: If no coordinate was recorded over the horizon.
    """
    grad = trajectories.grad.double()
    bank = OperandBank(expression.operands)
    values = {operand: value.clone().requires_grad_() for operand, value in bank.run(grad).items()}
    result = expression.evaluate(values)
    slopes = torch.autograd.grad(result.sum(), list(values.values())) if values else ()
    time = torch.arange(len(grad))[:, None]
    counted = (time >= horizon - 1) & (time < trajectories.valid)
    if not bool(counted.any()):
        raise UserError(
            "trajectories are shorter than the horizon of TPF", value=len(grad), mend=f"record {horizon} or more steps"
        )
    found: dict[str, Floats] = {}
    for signal in (name for name in bank.signals if name != "t"):
        own = [(slope, response_of(o, horizon)) for o, slope in zip(values, slopes, strict=True) if o.signal == signal]
        size = OperandBank((Signal(signal),)).run(grad)[Signal(signal)].square().mean(0).sqrt()
        found[signal] = np.array([_mean_influence(own, lag, size, counted) for lag in range(horizon)])
    return found


def momentum_tpf(beta: float, horizon: int | None = HORIZON) -> float:
    """Eq. 3 for momentum, whose weights are ``beta^i``: over lags 0..horizon-1, or without end ``beta / (1 - beta)``.

    Table 2 of S reads ``1 / (1 - beta)``, which is this plus 1: there the lags seem to be counted from 1.
    """
    whole = beta / (1 - beta)
    return whole if horizon is None else whole - horizon * beta**horizon / (1 - beta**horizon)


def _mean_influence(own: list[tuple[Tensor, Floats]], lag: int, size: Tensor, counted: Tensor) -> float:
    total = torch.zeros_like(own[0][0])
    for slope, response in own:
        if response[lag] != 0.0:
            total += float(response[lag]) * slope
    return float((total.abs() * size)[counted].mean())


def _featured(
    rule: Featured, phi: Mapping[str, Tensor], trajectories: Trajectories, horizon: int, chunks: int = 16
) -> dict[str, Floats]:
    """Slopes of the network to each of its features."""
    named = rule.features(phi, trajectories.grad)
    features = torch.stack(list(named.values()), dim=1).detach()

    def run(window: Tensor, start: int, state: Tensor) -> tuple[Tensor, Tensor]:
        del start
        outputs = []
        for now in window:
            y, state = rule.network.step(phi, list(now), state)
            outputs.append(rule.output_scale * torch.tanh(y))
        return torch.stack(outputs), state

    state = features.new_zeros(rule.network.state_size, features.shape[2])
    slopes = mean_slopes(run, state, features, trajectories.valid, horizon, chunks)
    return dict(zip(named, slopes, strict=True))
