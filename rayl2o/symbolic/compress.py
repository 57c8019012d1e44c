"""FIR to IIR: a filter over many lags as its current value and one or two exponential averages per signal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Ema, Lag, Operand, OperandBank, Signal
from rayl2o.symbolic.filters import FilterTerm, filter_of, filter_terms, gains_of, responses
from rayl2o.symbolic.table import LAGS, Floats

STATES = (1, 2)
"""Exponential averages per signal."""
FLOAT_BYTES = 4
LEAST_BETA = 0.01
SETTLED = 1e-6
LONGEST = 4000
_GRID = 24
_STARTS = 2
_NOTHING = 1e-9  # weights below this share of the largest are rounding


@dataclass(frozen=True)
class Decay:
    """``direct`` now, plus ``weights[k] (1 - betas[k]) betas[k]^i`` i steps ago.

    Attributes:
        error: Norm of the difference to the response that was fitted, as a share of its norm.
    """

    direct: float
    betas: tuple[float, ...]
    weights: tuple[float, ...]
    error: float


@dataclass(frozen=True)
class Compression:
    """A filter with few states.

    Attributes:
        expression: Over current values and averages; a ``SymbolicRule`` runs it as any other.
        decays: By signal.
        gains: Steady-state gain of each signal, (before, after).
        buffers: Floats of state per parameter, m and v included, (before, after).
    """

    expression: Expression
    decays: Mapping[str, Decay]
    gains: Mapping[str, tuple[float, float]]
    buffers: tuple[int, int]

    @property
    def state_bytes(self) -> tuple[int, int]:
        """Bytes of float32 state per parameter, (before, after)."""
        before, after = self.buffers
        return FLOAT_BYTES * before, FLOAT_BYTES * after


@dataclass(frozen=True)
class Choice:
    """A linear rule of few bytes, fitted to a table.

    Attributes:
        terms: Weights in the rule's own units.
        error: Squared error on the training rows, as a share of that of nothing.
    """

    terms: Mapping[Operand, float]
    error: float


def state_bytes(operands: tuple[Operand, ...]) -> int:
    """Float32 bytes of state per parameter that a rule over these operands keeps, m and v included."""
    return FLOAT_BYTES * OperandBank(operands).state_size


def identifiable_beta(horizon: int) -> float:
    """Largest beta that a window of ``horizon`` lags can tell from a constant: .95 for the 20 lags of S.

    Beyond it two averages with large opposite weights fit the window and do anything past its end: on rules of published
    optimizers such fits had the R2 of the others, and diverged.
    """
    return 1.0 - 1.0 / horizon


def compress(expression: Expression, states: int = 1) -> Compression:
    """Fits the impulse response of a linear rule, or of a sum ``W gamma tanh(s / gamma)`` at small inputs, signal by signal.

    A tanh stays outside the averages, where the rule has it inside: exact at small inputs only. Measure it on a table
    (:func:`rayl2o.symbolic.compress_formula.compressed_formula`).

    Args:
        expression: Over lags or averages. Lags are fitted over their window (20 at least), averages until they have forgotten
            all but 1e-6; betas stay within :func:`identifiable_beta` of that.
        states: Averages per signal, one of :data:`STATES`.

    Raises:
        UserError: If the formula is no such filter or mixes gammas within a signal, ``states`` is not in :data:`STATES`, or the
            steady-state gain of a signal that was descended would become positive.
    """
    _check_states(states)
    terms = filter_terms(expression)
    if not terms:
        raise UserError(
            "only a filter can be compressed", value=str(expression), mend="give sums of c*s or c*tanh(k*s)"
        )
    inner = _inner_by_signal(terms)
    decays: dict[str, Decay] = {}
    found: list[FilterTerm] = []
    for signal in inner:
        own = [term for term in terms if term.operand.signal == signal]
        decays[signal] = _fit_signal(own, states)
        found += _terms(signal, decays[signal], inner[signal])
    before, after = gains_of(terms), gains_of(found)
    if bad := ascending(before, after):
        raise UserError(
            f"the steady-state gain of {bad[0]} would become positive",
            value=f"{before[bad[0]]:.3g} to {after[bad[0]]:.3g}",
            mend="use one state, or fit averages on full histories",
        )
    compact = filter_of(found)
    return Compression(
        compact,
        decays,
        {signal: (before[signal], after.get(signal, 0.0)) for signal in before},
        (_buffers(expression), _buffers(compact)),
    )


def fit_decay(response: Floats, states: int = 1, limit: float | None = None) -> Decay:
    """Least squares by variable projection: weights are solved for, betas searched on a grid and then polished.

    Args:
        response: ``[T]``, the weight of each lag.
        states: Averages.
        limit: Largest beta; :func:`identifiable_beta` of T if None.

    Raises:
        UserError: If ``states`` is not in :data:`STATES`, or the response is all 0, not finite, or no longer than its unknowns.
    """
    _check_states(states)
    limit = identifiable_beta(len(response)) if limit is None else limit
    size = float(np.linalg.norm(response))
    if not (math.isfinite(size) and size > 0) or len(response) <= 2 * states + 1:
        raise UserError(
            "an impulse response that cannot be fitted",
            value=f"norm {size:.3g}, {len(response)} lags",
            mend="give a finite response that is not 0, over more lags than twice the states",
        )
    target = np.asarray(response, dtype=np.float64) / size

    def misfit(betas: Floats) -> Floats:
        basis = _basis(betas, len(target))
        return np.asarray(basis @ _project(basis, target) - target)

    betas = search_betas(misfit, states, limit)
    weights = _project(_basis(betas, len(target)), target)
    error = float(np.linalg.norm(misfit(betas)))
    return _decay(betas, weights, size, error)


def search_betas(
    misfit: Callable[[Floats], Floats], states: int, limit: float, near: Floats | None = None, tolerance: float = 1e-15
) -> Floats:
    """The betas ``[states]``, rising, that make ``misfit`` (residuals ``[n]`` at betas) smallest within (0, limit].

    From the best places of a grid, or from ``near`` alone.
    """

    def size(betas: Floats) -> float:
        return float(np.sum(misfit(betas) ** 2))

    grid = 1.0 - np.geomspace(1.0 - LEAST_BETA, 1.0 - limit, _GRID // states)
    places = [np.array(betas) for betas in itertools.combinations(grid, states)] if near is None else [near]
    starts = sorted(places, key=size)[:_STARTS]
    best = min((_polish(misfit, start, limit, tolerance) for start in starts), key=size)
    return np.sort(best)


def ascending(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[str, ...]:
    """Signals whose steady-state gain is positive after and was not before."""
    size = max((abs(gain) for gain in after.values()), default=0.0)
    return tuple(name for name, gain in after.items() if gain > _NOTHING * size and before.get(name, 0.0) <= 0.0)


def _polish(misfit: Callable[[Floats], Floats], start: Floats, limit: float, tolerance: float) -> Floats:
    inside = np.clip(start, LEAST_BETA, limit - 1e-9)
    done = least_squares(misfit, inside, bounds=(LEAST_BETA / 2, limit), xtol=tolerance, ftol=tolerance, gtol=tolerance)
    return np.asarray(done.x, dtype=np.float64)


def _fit_signal(own: Sequence[FilterTerm], states: int) -> Decay:
    """The decay of one signal's terms; exact, without a search, where they already are few averages."""
    averages = sorted({term.operand.beta for term in own if isinstance(term.operand, Ema)})
    lag = max((term.operand.lag for term in own if isinstance(term.operand, Lag)), default=0)
    forget = math.ceil(math.log(SETTLED) / math.log(averages[-1])) if averages else 0
    if not lag and len(averages) <= states:
        weights = [sum(t.slope for t in own if t.operand == Ema(own[0].operand.signal, beta)) for beta in averages]
        direct = sum(term.slope for term in own if isinstance(term.operand, Signal))
        return Decay(direct, tuple(averages), tuple(weights), 0.0)
    horizon = min(LONGEST, max(lag + 1, forget, LAGS))
    (response,) = responses(own, horizon).values()
    return fit_decay(response, states)


def _decay(betas: Floats, weights: Floats, size: float, error: float) -> Decay:
    least = _NOTHING * float(np.abs(weights).max())
    kept = [(float(b), float(w) * size) for b, w in zip(betas, weights[1:], strict=True) if abs(w) > least]
    direct = float(weights[0]) * size if abs(weights[0]) > least else 0.0
    return Decay(direct, tuple(b for b, _ in kept), tuple(w for _, w in kept), error)


def _basis(betas: Floats, horizon: int) -> Floats:
    """``[T, 1 + K]``: the current value, then each average's response."""
    lags = np.arange(horizon)[:, None]
    return np.hstack([(lags == 0).astype(np.float64), (1.0 - betas) * betas**lags])


def _project(basis: Floats, target: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(basis, target, rcond=None)[0], dtype=np.float64)


def _terms(signal: str, decay: Decay, inner: float | None) -> list[FilterTerm]:
    """The filter of a decay; slopes become weights of tanh where the signal has an inner factor."""
    scale = 1.0 if inner is None else 1.0 / inner
    terms = [FilterTerm(Signal(signal), decay.direct * scale, inner)] if decay.direct != 0.0 else []
    pairs = zip(decay.betas, decay.weights, strict=True)
    return terms + [FilterTerm(Ema(signal, beta), weight * scale, inner) for beta, weight in pairs]


def _inner_by_signal(terms: Sequence[FilterTerm]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for term in terms:
        signal, inner = term.operand.signal, None if term.inner is None else abs(term.inner)
        if signal == "t":
            raise UserError("the time t is no filter input", value=signal, mend="compress a formula without t")
        seen = found.setdefault(signal, inner)
        if (seen is None) != (inner is None) or (
            seen is not None and not math.isclose(seen, inner or 0.0, rel_tol=1e-9)
        ):
            raise UserError("terms of one signal differ in gamma", value=(seen, inner), mend="use one gamma per signal")
    return found


def _check_states(states: int) -> None:
    if states not in STATES:
        raise UserError("averages per signal", value=states, mend="use 1 or 2")


def _buffers(expression: Expression) -> int:
    return OperandBank(expression.operands).state_size
