"""What a formula must never do, checked before it is run: each breach is a named reason, refused or only flagged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Ema, Lag, Operand
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.table import Table

ASCENT = "ascent"
BLOW_UP = "blow_up"
POSITIVE_GAIN = "positive_gain"
STRETCH = "stretch"
NO_CLAMP = "no_clamp"
NOT_MONOTONE = "not_monotone"

MAGNITUDES = tuple(10.0 ** (exponent / 4) for exponent in range(-32, 9))
"""|g| from 1e-8 to 1e2, four to the decade."""
STRETCH_FACTOR = 3.0
STRETCH_FLAGGED, STRETCH_REFUSED = 10.0, 30.0
"""What 3x inputs may give, in units of max |y|, before the clamp: a linear rule gives 3, a square 9, a cube 27; fronts that were
seen to fall apart 33 to 1e5."""
BLOWN = 100.0
"""Largest step after the gradient has gone to 0, in units of the largest step while it was there: a sound rule stays near 1."""
QUIET = 40
"""Steps of zero gradient that are looked at."""
SETTLED = 1e-6
MAX_SETTLING = 20_000
GRADIENT_SIGNALS = frozenset({"g", "q", "g_tilde"})
"""Signals with the sign of the newest gradient: each must be descended on its own. In m~, g~ pairs one may correct the other."""


@dataclass(frozen=True)
class Reason:
    """One breach: a name to test for, a sentence to read."""

    name: str
    detail: str

    def to_json(self) -> dict[str, str]:
        """Plain JSON-able data."""
        return {"name": self.name, "detail": self.detail}


@dataclass(frozen=True)
class Verdict:
    """Reasons to refuse a formula, and reasons only to warn of."""

    refused: tuple[Reason, ...]
    flagged: tuple[Reason, ...]


def inspect(rule: SymbolicRule, table: Table) -> Verdict:
    """All static guards on one rule; ``table`` holds the rows it was fitted on."""
    gain_refused, gain_flagged = _positive_gains(rule.expression)
    stretch_refused, stretch_flagged = _stretched(rule.expression, table)
    return Verdict(
        refused=(*_responses(rule), *gain_refused, *stretch_refused),
        flagged=(*gain_flagged, *stretch_flagged, *_clamps(rule, table)),
    )


def constant_response(rule: SymbolicRule, magnitudes: tuple[float, ...] = MAGNITUDES) -> Tensor:
    """Steady-state displacement ``[2, M]`` under constant gradients +m and -m, float64, no clamp or gain left out.

    Run until the slowest average has forgotten all but 1e-6 of its start.
    """
    return _pushed(rule, magnitudes, 0)[-1].reshape(2, -1)


def _pushed(rule: SymbolicRule, magnitudes: tuple[float, ...], quiet: int) -> Tensor:
    """Displacements ``[settling_steps + quiet, 2 M]`` under gradients +m and -m that go to 0 for the last ``quiet`` steps."""
    grad = torch.tensor([magnitudes, [-m for m in magnitudes]], dtype=torch.float64).flatten()
    steps = settling_steps(rule.expression.operands)
    grads = grad.expand(steps + quiet, -1).clone()
    grads[steps:] = 0.0
    phi = rule.init_phi(torch.Generator(), dtype=torch.float64)
    state = rule.init_state(phi, Layout.flat(len(grad)), 1, dtype=torch.float64)
    inputs = Inputs(grad=grads, step=torch.arange(steps + quiet, dtype=torch.float64)[:, None])
    with torch.no_grad():
        return rule.sequence(phi, inputs, {"coord": state["coord"][0]})[0]


def settling_steps(operands: tuple[Operand, ...]) -> int:
    """Steps after which a constant input has settled in every operand; 600 covers the features' own averages (.95)."""
    slow = max((operand.beta for operand in operands if isinstance(operand, Ema)), default=0.0)
    lag = max((operand.lag for operand in operands if isinstance(operand, Lag)), default=0)
    forget = math.log(SETTLED) / math.log(slow) if slow > 0 else 0.0
    return min(MAX_SETTLING, 600 + lag + math.ceil(forget))


def steady_gains(expression: Expression) -> dict[str, float] | None:
    """Steady-state (DC) gain per signal of a linear formula: the sum of its coefficients, an average having gain 1."""
    terms = expression.linear_terms()
    if terms is None:
        return None
    gains: dict[str, float] = {}
    for operand, weight in terms.items():
        gains[operand.signal] = gains.get(operand.signal, 0.0) + weight
    return gains


def _responses(rule: SymbolicRule) -> tuple[Reason, ...]:
    """What a gradient that stays, and then goes to 0, brings to light."""
    pushed = _pushed(rule, MAGNITUDES, QUIET)
    settled = len(pushed) - QUIET
    ascents = _ascents(pushed[settled - 1].reshape(2, -1))
    after = blow_up(pushed[:settled, : len(MAGNITUDES)], pushed[settled:, : len(MAGNITUDES)])
    return ascents if after is None else (*ascents, Reason(BLOW_UP, after))


def blow_up(before: Tensor, after: Tensor) -> str | None:
    """What is wrong with steps ``after [Q, M]`` a constant gradient of each of :data:`MAGNITUDES` had steps ``before [S, M]``."""
    ratio = after.abs().amax(0) / before.abs().amax(0).clamp(min=1e-300)
    if bool((ratio <= BLOWN).all()):  # a NaN does not pass
        return None
    worst = int(torch.nan_to_num(ratio, nan=torch.inf).argmax())
    size = float(after[:, worst].abs().amax())
    return (
        f"when a gradient of {MAGNITUDES[worst]:.3g} goes to 0 the step grows to {size:.3g}, "
        f"{float(ratio[worst]):.3g} times what it was"
    )


def quiet_verdict(rule: SymbolicRule) -> str | None:
    """:func:`blow_up` of a rule; None if it is sound."""
    pushed = _pushed(rule, MAGNITUDES, QUIET)[:, : len(MAGNITUDES)]
    return blow_up(pushed[:-QUIET], pushed[-QUIET:])


def _ascents(response: Tensor) -> tuple[Reason, ...]:
    uphill = torch.cat([response[0], -response[1]])
    worst = int(uphill.argmax())
    if uphill[worst] <= 1e-9 * response.abs().max():  # a NaN does not pass
        return ()
    sign = "+" if worst < len(MAGNITUDES) else "-"
    magnitude = MAGNITUDES[worst % len(MAGNITUDES)]
    return (
        Reason(
            ASCENT, f"a constant gradient of {sign}{magnitude:.3g} is ascended by {float(uphill[worst]):.3g} a step"
        ),
    )


def _positive_gains(expression: Expression) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    gains = steady_gains(expression)
    if gains is None:
        return (), ()
    size = max(abs(gain) for gain in gains.values())
    found = tuple(
        Reason(POSITIVE_GAIN, f"the steady-state gain of {signal} is {gain:+.3g}: it is ascended")
        for signal, gain in gains.items()
        if gain > 1e-9 * size
    )
    return (found, ()) if gains.keys() <= GRADIENT_SIGNALS else ((), found)


def _stretched(expression: Expression, table: Table) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    stretched = expression.evaluate({operand: STRETCH_FACTOR * column for operand, column in table.columns().items()})
    ratio = float(stretched.abs().max()) / table.y_limit
    if ratio <= STRETCH_FLAGGED:
        return (), ()
    reason = Reason(STRETCH, f"{STRETCH_FACTOR:g}x stretched inputs give {ratio:.3g} times max |y| before the clamp")
    return ((), (reason,)) if ratio <= STRETCH_REFUSED else ((reason,), ())


def _clamps(rule: SymbolicRule, table: Table) -> tuple[Reason, ...]:
    limit = table.y_limit
    if rule.clamp is not None and rule.clamp <= limit * (1 + 1e-6):
        return ()
    return (Reason(NO_CLAMP, f"no output clamp at max |y| = {limit:.3g}"),)
