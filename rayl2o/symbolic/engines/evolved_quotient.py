"""One total quotient, grown term by term: ``sum of weight x term / (floor + sum of share x positive term) ** power``.

The numerator's weights are solved for at every trial (variable projection); the shares are kept positive by searching their
logarithms. What is searched is what is shipped: the same floor, the same power, no epsilon beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from rayl2o.rules.nodes import Node
from rayl2o.symbolic.engines.base import Floats
from rayl2o.symbolic.engines.evolved_member import Divisor, Member
from rayl2o.symbolic.engines.head import Pool, forward, solve

_FLOORS = (1e-6, 1e-3, 0.1)
_SHARES = (0.03, 0.3, 1.5)
_BOUND = 18.0  # |log share|: beyond it a term is the whole divisor, or none of it
_RIDGE = 1e-9
_POWER_RANGE = (0.05, 3.0)
_LEAST_GAIN = 1e-4
_LOSS = 0.002  # share of the error that dropping a term may add
_PATIENCE = 5  # times as many evaluations before a path is given up


@dataclass(frozen=True)
class Parts:
    """What a quotient is made of, on R rows.

    Attributes:
        over: Terms of the numerator; ``over_x [R, K]`` their values.
        under: Terms that are nowhere negative; ``under_x [R, L]`` their values, of mean 1 after division by ``under_mean``.
        over_cost, under_cost: Nodes that each adds.
        y: ``[R]``.
    """

    over: tuple[Node, ...]
    over_x: Floats
    over_cost: Floats
    under: tuple[Node, ...]
    under_x: Floats
    under_mean: Floats
    under_cost: Floats
    y: Floats


@dataclass(frozen=True)
class Quotient:
    """A quotient in the making: indices into :class:`Parts`.

    Attributes:
        over, under: Chosen terms; the share of the first one under the line is 1.
        logs: ``[1 + len(under) - 1]`` logarithms of the floor and of the other shares.
        power: Exponent of the divisor.
        free: Whether the exponent is fitted too.
    """

    over: tuple[int, ...]
    under: tuple[int, ...]
    logs: tuple[float, ...]
    power: float
    free: bool = False

    @property
    def unknowns(self) -> Floats:
        """What is searched: the logarithms, and that of the exponent if it is free, stretched so that any number is allowed."""
        logs = np.array([*self.logs, np.log(self.power)] if self.free else self.logs)
        return np.asarray(_BOUND * np.arctanh(np.clip(logs / _BOUND, -0.999, 0.999)))

    def at(self, unknowns: Floats) -> Quotient:
        """The same terms with other unknowns."""
        logs = [float(value) for value in _BOUND * np.tanh(unknowns / _BOUND)]
        power = float(np.clip(np.exp(logs.pop()), *_POWER_RANGE)) if self.free else self.power
        return replace(self, logs=tuple(logs), power=power)

    @staticmethod
    def slope(unknowns: Floats) -> Floats:
        """Derivative of the logarithms by the unknowns."""
        return np.asarray(1 - np.tanh(unknowns / _BOUND) ** 2)

    def member(self, parts: Parts) -> Member:
        """Written out, with the weights fitted on the rows of ``parts``."""
        state = _State.of(parts, self)
        mean = float(state.shares.sum()) + state.floor  # divided out: weights and shares then stay of moderate size
        divisor = Divisor(
            terms=tuple(parts.under[i] for i in self.under),
            shares=tuple(float(s / mean / parts.under_mean[i]) for s, i in zip(state.shares, self.under, strict=True)),
            floor=state.floor / mean,
            power=self.power,
        )
        member = Member(tuple(parts.over[i] for i in self.over), (), divisor)
        return member.with_weights(state.weights * mean**-self.power)


@dataclass(frozen=True)
class _State:
    """A quotient at one point.

    Attributes:
        quotient: What it is of.
        under: ``[R, U]`` terms below the line; ``shares [U]`` and ``floor`` make them the ``divisor [R]``.
        columns: ``[R, K]`` terms above the line over the powered divisor, divided by ``norms [K]``; ``gram`` their products.
        weights: ``[K]``, fitted, of the terms themselves.
        answer, left: The quotient ``[R]``, and the target less it.
    """

    quotient: Quotient
    under: Floats
    shares: Floats
    floor: float
    divisor: Floats
    columns: Floats
    gram: Floats
    weights: Floats
    answer: Floats
    left: Floats

    @classmethod
    def of(cls, parts: Parts, quotient: Quotient) -> _State:
        under = parts.under_x[:, quotient.under]
        shares, floor = np.array([1.0, *np.exp(quotient.logs[1:])]), float(np.exp(quotient.logs[0]))
        divisor = under @ shares + floor
        columns = parts.over_x[:, quotient.over] * (divisor**-quotient.power)[:, None]
        norms = np.maximum(np.sqrt(np.einsum("rk,rk->k", columns, columns)), 1e-150)
        columns = columns / norms
        gram = columns.T @ columns
        scaled = solve(gram, columns.T @ parts.y, _RIDGE)
        answer = columns @ scaled
        return cls(quotient, under, shares, floor, divisor, columns, gram, scaled / norms, answer, parts.y - answer)

    @property
    def error(self) -> float:
        return float(self.left @ self.left)

    def slopes(self) -> Floats:
        """Derivatives of the answer by the unknowns' logarithms at fixed weights, ``[R, U]``."""
        pull = -self.quotient.power * self.answer / self.divisor
        found = [pull * self.floor, *(pull * self.under[:, i] * self.shares[i] for i in range(1, len(self.shares)))]
        if self.quotient.free:
            found.append(-self.answer * np.log(self.divisor) * self.quotient.power)
        return np.stack(found, axis=1)

    def projected_slopes(self) -> Floats:
        """:meth:`slopes` less what the weights can make up for (Kaufman's approximation)."""
        slopes = self.slopes()
        inside = np.linalg.solve(self.gram + _RIDGE * np.eye(len(self.gram)), self.columns.T @ slopes)
        return np.asarray(slopes - self.columns @ inside)


def refine(parts: Parts, quotient: Quotient, evaluations: int) -> Quotient:
    """Fits the unknowns by least squares from where they are; never worse. Unchanged where there are too few rows."""
    if len(quotient.unknowns) > len(parts.y):
        return quotient
    memory: dict[bytes, _State] = {}

    def state(unknowns: Floats) -> _State:
        key = unknowns.tobytes()
        if key not in memory:
            memory.clear()
            memory[key] = _State.of(parts, quotient.at(unknowns))
        return memory[key]

    found = least_squares(
        lambda u: state(u).left,
        quotient.unknowns,
        jac=lambda u: -state(u).projected_slopes() * quotient.slope(u),
        method="lm",
        x_scale="jac",
        max_nfev=evaluations,
        xtol=1e-6,
        ftol=1e-7,
        gtol=1e-12,
    )
    better = quotient.at(np.asarray(found.x))
    return better if _State.of(parts, better).error < _State.of(parts, quotient).error else quotient


def starts(parts: Parts, linear: int, rows: int, counts: Mapping[float, int]) -> list[Quotient]:
    """The best with one term under the line and up to 3 of the first ``linear`` terms above it: so many for each exponent."""
    step = max(1, len(parts.y) // rows)
    y, over = parts.y[::step], parts.over_x[::step, :linear]
    best: list[Quotient] = []
    for power, count in counts.items():
        tried: list[tuple[float, Quotient]] = []
        for i in range(len(parts.under)):
            for floor in _FLOORS:
                x = over * ((parts.under_x[::step, i] + floor) ** -power)[:, None]
                chosen = forward(Pool(x, parts.over_cost[:linear]), y, 3)
                if chosen:
                    w = np.linalg.lstsq(x[:, chosen], y, rcond=None)[0]
                    error = float(np.sum((y - x[:, chosen] @ w) ** 2))
                    tried.append((error, Quotient(tuple(chosen), (i,), (float(np.log(floor)),), power)))
        tried.sort(key=lambda pair: pair[0])
        best += [quotient for _, quotient in tried[:count]]
    return best


def grow(parts: Parts, start: Quotient, most_nodes: int, evaluations: int = 6) -> Iterator[Quotient]:
    """Quotients of growing size, each refined; ends at ``most_nodes`` or where nothing helps any more."""
    current = refine(parts, start, evaluations)
    total = float(np.sum((parts.y - parts.y.mean()) ** 2))
    while True:
        yield current
        error = _State.of(parts, current).error
        if nodes_of(parts, current) >= most_nodes or error < 1e-10 * total:
            return
        at_once = 1 + nodes_of(parts, current) // 60
        larger = current
        for _ in range(at_once):
            larger = _extended(parts, larger)
        larger = refine(parts, larger, evaluations)
        if _State.of(parts, larger).error > (1 - _LEAST_GAIN) * error:
            larger = refine(parts, larger, _PATIENCE * evaluations)
        if _State.of(parts, larger).error > (1 - _LEAST_GAIN) * error:
            return
        current = larger


def pruned(parts: Parts, quotient: Quotient) -> Quotient:
    """Without the terms that hardly anything is lost by, the least useful first; what is left is refined."""
    total = float(np.sum((parts.y - parts.y.mean()) ** 2))
    current = quotient
    while True:
        limit = (1 + _LOSS) * _State.of(parts, current).error + 1e-8 * total
        fewer = [replace(current, over=_without(current.over, i)) for i in range(len(current.over))]
        fewer += [
            replace(current, under=_without(current.under, i), logs=(*current.logs[:i], *current.logs[i + 1 :]))
            for i in range(1, len(current.under))
        ]
        fewer = [refine(parts, option, 3) for option in fewer if option.over]
        best = min(fewer, key=lambda option: _State.of(parts, option).error, default=current)
        if best == current or _State.of(parts, best).error > limit:
            return current
        current = best


def _without(places: tuple[int, ...], i: int) -> tuple[int, ...]:
    return (*places[:i], *places[i + 1 :])


def nodes_of(parts: Parts, quotient: Quotient) -> int:
    """Nodes of the formula before it is simplified."""
    over = sum(parts.over_cost[i] for i in quotient.over)
    return int(over + sum(parts.under_cost[i] for i in quotient.under)) + 2


def _extended(parts: Parts, quotient: Quotient) -> Quotient:
    """With the term, above or under the line, that lowers the error most for its cost by first derivatives."""
    state = _State.of(parts, quotient)
    tangent = np.concatenate((state.columns, state.slopes()), axis=1)
    basis = np.linalg.qr(tangent / np.maximum(np.linalg.norm(tangent, axis=0), 1e-150))[0]
    left = state.left - basis @ (basis.T @ state.left)
    pull = -quotient.power * state.answer / state.divisor
    over = _gains(parts.over_x * (state.divisor**-quotient.power)[:, None], basis, left, False) / parts.over_cost**0.5
    under = _gains(parts.under_x * pull[:, None], basis, left, True) / parts.under_cost**0.5
    over[list(quotient.over)] = 0.0
    under[list(quotient.under)] = 0.0
    options = [replace(quotient, over=(*quotient.over, int(np.argmax(over))))] if over.max() > 0 else []
    if under.max() > 0:
        new = (*quotient.under, int(np.argmax(under)))
        options += [replace(quotient, under=new, logs=(*quotient.logs, float(np.log(s)))) for s in _SHARES]
    if not options:
        return quotient
    before = state.error

    def worth(option: Quotient) -> float:
        added = nodes_of(parts, option) - nodes_of(parts, quotient)
        return float((before - _State.of(parts, option).error) / added**0.5)

    return max(options, key=worth)


def _gains(x: Floats, basis: Floats, left: Floats, upwards: bool) -> Floats:
    """What each column takes off the squared error beside the basis; 0 for columns that would have to go down."""
    inner = basis.T @ x
    power = np.einsum("rk,rk->k", x, x)
    free = power - np.einsum("bk,bk->k", inner, inner)
    along = left @ x
    usable = free > 1e-8 * np.maximum(power, 1e-300)
    if upwards:
        usable &= along > 0
    return np.where(usable, along**2 / np.maximum(free, 1e-300), 0.0)
