"""The update as a function of one current input, network beside formula, at recorded states: S, Fig. 3."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Rule
from rayl2o.rules.operands import Ema, Operand, OperandBank, Signal
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.metrics import r2
from rayl2o.symbolic.perception import Featured
from rayl2o.symbolic.picture_fields import fields, number, numbers, text, whole
from rayl2o.symbolic.trajectories import Trajectories

MOMENTS = (0.1, 0.4, 0.7, 1.0)
"""Shares of the horizon at which states are taken."""
STATES = 64
"""Coordinates per moment at most, evenly over those recorded."""
POINTS = 41
EDGES = (0.01, 0.99)
"""Quantiles of the recorded input between which it is varied."""
GRADIENT = "g"


@dataclass(frozen=True)
class Band:
    """Lower quartile, median and upper quartile over states of an update, at each point of a curve."""

    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, updates: Tensor) -> Band:
        """Of updates ``[P, S]``, over S states."""
        quartiles = np.quantile(updates.double().numpy(), (0.25, 0.5, 0.75), axis=1)
        return cls(*(tuple(row.tolist()) for row in quartiles))

    @classmethod
    def from_json(cls, data: object) -> Band:
        """Inverse of ``dataclasses.asdict``.

        Raises:
            UserError: If a field is missing or no list of numbers.
        """
        found = fields(data, "a band of updates")
        return cls(*(numbers(found, name) for name in ("low", "middle", "high")))


@dataclass(frozen=True)
class MappingCurve:
    """How the update answers to one current input.

    Attributes:
        input: Its name: a feature of the network, or the gradient ``g``.
        unit: Unit of ``x``, as text.
        x: Values of the input, ``[P]``.
        network, formula: Their updates (displacement of a parameter, clamp and gain included) over the states.
        r2: Of the formula's updates against the network's, over all points and states.
        states: How many recorded states.
        held: What is held, a sentence.
    """

    input: str
    unit: str
    x: tuple[float, ...]
    network: Band
    formula: Band
    r2: float
    states: int
    held: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data (an R2 that is not finite becomes null); :meth:`from_json` reads it back."""
        return {**asdict(self), "r2": self.r2 if np.isfinite(self.r2) else None}

    @classmethod
    def from_json(cls, data: object) -> MappingCurve:
        """Inverse of :meth:`to_json`.

        Raises:
            UserError: If a field is missing or of another type, or lists differ in length.
        """
        found = fields(data, "a mapping curve")
        x = numbers(found, "x")
        bands = [Band.from_json(found.get(name)) for name in ("network", "formula")]
        if not x or not all(map(math.isfinite, x)):
            raise UserError("a mapping curve needs values of its input", value=len(x), mend="distil again")
        if any(len(row) != len(x) for band in bands for row in (band.low, band.middle, band.high)):
            raise UserError("a mapping curve whose lists differ in length", value=len(x), mend="distil again")
        return cls(
            text(found, "input"),
            text(found, "unit"),
            x,
            bands[0],
            bands[1],
            number(found, "r2"),
            whole(found, "states"),
            text(found, "held"),
        )


def mapping_curves(
    rule: Rule, phi: Mapping[str, Tensor], formula: SymbolicRule, trajectories: Trajectories
) -> tuple[MappingCurve, ...]:
    """One curve per input that can be moved alone.

    Those are the network's own features where the formula reads nothing else (RNNprop: m~ and g~, whether the formula reads
    both or not). For any other pair it is the current gradient, and what the formula makes of it (q, g~, averages) moves too.

    Args:
        rule, phi: The learned rule.
        formula: What was distilled from it.
        trajectories: Of the learned rule; states are taken at :data:`MOMENTS` of their horizon.

    Returns:
        The curves; none if every run ended before the first moment.

    Raises:
        UserError: If the rule is not coordinate-wise or reads more than the gradient.
    """
    check_alone(rule)
    chosen = _columns(trajectories)
    grad = trajectories.grad[:, chosen]
    steps = sorted({int(share * (trajectories.steps - 1)) for share in MOMENTS})
    alive = [trajectories.valid[chosen] > step for step in steps]
    if not any(bool(some.any()) for some in alive):
        return ()
    read = {operand.signal for operand in formula.expression.operands} - {"t"}
    if isinstance(rule, Featured):
        features = {name: value.detach() for name, value in rule.features(phi, grad).items()}
        if read and read <= features.keys():
            return tuple(_by_feature(name, rule, phi, formula, grad, features, steps, alive) for name in features)
    return (_by_gradient(rule, phi, formula, grad, trajectories.valid[chosen], steps, alive),)


def check_alone(rule: Rule) -> None:
    """Refuses a rule whose update answers to more than the history of its own gradient.

    Raises:
        UserError: If the rule is not coordinate-wise, or reads parameters or the loss.
    """
    if not rule.coordinatewise or rule.needs:
        raise UserError(
            "updates can be drawn of rules that read their own gradient alone",
            value=rule.kind,
            mend="distil a coordinate-wise rule, such as dm or rnnprop",
        )


def _columns(trajectories: Trajectories) -> Tensor:
    """At most :data:`STATES` columns, evenly over all recorded: columns stand by run, then by tensor."""
    count = trajectories.grad.shape[1]
    return torch.linspace(0, count - 1, min(count, STATES)).round().long()


def _grid(recorded: Tensor) -> Tensor:
    """``[P]``, evenly between the outer quantiles of what was recorded; of some width even if nothing varied."""
    low, high = np.quantile(recorded.double().numpy(), EDGES)
    width = max(high - low, 1e-12)
    middle = (low + high) / 2
    return torch.linspace(middle - width / 2, middle + width / 2, POINTS, dtype=recorded.dtype)


def _curve(name: str, unit: str, held: str, grid: Tensor, network: list[Tensor], formula: list[Tensor]) -> MappingCurve:
    """``network`` and ``formula`` hold updates ``[P, S]``, a part per moment."""
    one, other = torch.cat(network, 1).double(), torch.cat(formula, 1).double()
    sound = bool(one.isfinite().all())
    score = r2(one.flatten().numpy(), other.flatten().numpy()) if sound else float("nan")
    x = tuple(grid.double().tolist())
    return MappingCurve(name, unit, x, Band.of(one), Band.of(other), score, one.shape[1], held)


def _by_gradient(
    rule: Rule,
    phi: Mapping[str, Tensor],
    formula: SymbolicRule,
    grad: Tensor,
    valid: Tensor,
    steps: list[int],
    alive: list[Tensor],
) -> MappingCurve:
    counted = torch.arange(len(grad))[:, None] < valid
    # Each coordinate in its own unit: gradients of different tensors are orders of magnitude apart.
    unit = (grad.square().sum(0) / valid.clamp(min=1)).sqrt().clamp(min=torch.finfo(grad.dtype).tiny)
    grid = _grid((grad / unit)[counted])
    varied = grid[:, None] * unit
    own = formula.init_phi(dtype=grad.dtype)
    networks = _answers(rule, phi, grad, varied, steps)
    formulas = _answers(formula, own, grad, varied, steps)
    held = "the history of the gradient, and with it every state and average, at recorded values"
    return _curve(
        GRADIENT,
        "rms of the coordinate's gradient",
        held,
        grid,
        [answer[:, some] for answer, some in zip(networks, alive, strict=True)],
        [answer[:, some] for answer, some in zip(formulas, alive, strict=True)],
    )


@torch.no_grad()
def _answers(rule: Rule, phi: Mapping[str, Tensor], grad: Tensor, varied: Tensor, steps: list[int]) -> list[Tensor]:
    """Updates ``[P, N]`` at each of the steps, where the recorded ``grad [U, N]`` is replaced by ``varied [P, N]`` there only."""
    layout = Layout.flat(grad.shape[1])
    state = rule.init_state(phi, layout, 1, dtype=grad.dtype)["coord"][0]
    found, done = [], 0
    for step in steps:
        if step > done:
            time = torch.arange(done, step, dtype=grad.dtype)[:, None]
            state = rule.sequence(phi, Inputs(grad=grad[done:step], step=time), {"coord": state})[1]["coord"]
            done = step
        shared = state.expand(len(varied), *state.shape)
        now = Inputs(grad=varied, step=torch.tensor(float(step), dtype=grad.dtype))
        found.append(rule.update(phi, now, {"coord": shared})[0])
    return found


def _by_feature(
    name: str,
    rule: Featured,
    phi: Mapping[str, Tensor],
    formula: SymbolicRule,
    grad: Tensor,
    features: Mapping[str, Tensor],
    steps: list[int],
    alive: list[Tensor],
) -> MappingCurve:
    counted = torch.cat([features[name][step][some] for step, some in zip(steps, alive, strict=True)])
    grid = _grid(counted)
    networks = _network_answers(name, rule, phi, features, grid, steps)
    formulas = _formula_answers(name, formula, grad, grid, steps)
    others = [other for other in features if other != name]
    held = f"the current {' and '.join(others)}, all earlier inputs and the network's state, at recorded values"
    return _curve(
        name,
        "",
        held,
        grid,
        [answer[:, some] for answer, some in zip(networks, alive, strict=True)],
        [answer[:, some] for answer, some in zip(formulas, alive, strict=True)],
    )


@torch.no_grad()
def _network_answers(
    name: str,
    rule: Featured,
    phi: Mapping[str, Tensor],
    features: Mapping[str, Tensor],
    grid: Tensor,
    steps: list[int],
) -> list[Tensor]:
    step_network: Callable[..., tuple[Tensor, Tensor]] = rule.network.step
    stacked = torch.stack(list(features.values()))  # [F, U, N]
    place, count = list(features).index(name), stacked.shape[2]
    state = stacked.new_zeros(rule.network.state_size, count)
    found = []
    for step in range(max(steps) + 1):
        now = stacked[:, step]
        if step in steps:
            wide = now[:, None].repeat(1, len(grid), 1)
            wide[place] = grid[:, None]
            spread = state[:, None].expand(-1, len(grid), -1).flatten(1)
            y, _ = step_network(phi, list(wide.flatten(1)), spread)
            found.append((rule.output_scale * torch.tanh(y)).reshape(len(grid), count))
        state = step_network(phi, list(now), state)[1]
    return found


@torch.no_grad()
def _formula_answers(name: str, formula: SymbolicRule, grad: Tensor, grid: Tensor, steps: list[int]) -> list[Tensor]:
    """Only the signal's newest value moves: itself, and by their share of it the averages that include it."""
    operands = formula.expression.operands
    reads = any(operand.signal == name for operand in operands)  # a network may have a feature that no formula can read
    bank = OperandBank(tuple(dict.fromkeys((*operands, *((Signal(name),) if reads else ())))))
    recorded = bank.run(grad.double())
    own = formula.init_phi(dtype=torch.float64)
    found = []
    for step in steps:
        now = recorded[Signal(name)][step] if reads else torch.zeros(grad.shape[1], dtype=torch.float64)
        change = grid.double()[:, None] - now
        values: dict[Operand, Tensor] = {}
        for operand in operands:
            share = 0.0
            if operand.signal == name:
                share = 1.0 if isinstance(operand, Signal) else 1.0 - operand.beta if isinstance(operand, Ema) else 0.0
            values[operand] = recorded[operand][step] + share * change
        value = formula.expression.evaluate(values, own["coefficients"]).expand_as(change)
        limited = value if formula.clamp is None else value.clamp(-formula.clamp, formula.clamp)
        found.append(own["gain"] * limited)
    return found
