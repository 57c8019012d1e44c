"""Our own engine: small terms evolved over paper S's operators, a sparse linear head, one total quotient, constants polished.

Repeatable: generations are counted, islands have their own seeds and are merged in order, and BLAS runs on one thread. The CPU
ceiling is only met where a machine is much slower than the settings were chosen for; then two runs may differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Const, Node, Unary
from rayl2o.seeds import derive_seed
from rayl2o.symbolic.engines.base import Budget, Data, Floats, Pmap
from rayl2o.symbolic.engines.evolved_islands import IslandTask, evolve, usable
from rayl2o.symbolic.engines.evolved_member import Member, cost_of, stacked
from rayl2o.symbolic.engines.evolved_quotient import Parts, Quotient, grow, nodes_of, pruned, refine, starts
from rayl2o.symbolic.engines.evolved_select import Judge
from rayl2o.symbolic.engines.evolved_values import Columns, columns_of
from rayl2o.symbolic.engines.head import Pool, forward, weights
from rayl2o.symbolic.engines.polish import polished
from rayl2o.symbolic.engines.terms import UNARY, Grammar, constants_of
from rayl2o.symbolic.linear import pursue

_POSITIVE = ("square", "abs", "exp", "erfc", "relu")
_SEARCH_ROWS = 1500
_START_ROWS = 500
_GROW_ROWS = 2000
_PRUNED = 45  # nodes of the largest quotient that is pruned
_STARTS, _FIRST_STARTS = {0.5: 2, 1.0: 1}, {0.5: 1, 1.0: 1}  # quotients grown, by the divisor's exponent
_LINEAR_TERMS = (1, 2, 3, 4, 5, 6, 8)
_UNDER_TERMS = 40  # evolved terms that may stand under the line


@dataclass(frozen=True)
class Evolved:
    """Settings of the engine.

    Attributes:
        generations: Of each island.
        population: New terms per generation.
        islands: Independent searches, merged.
        unary: Operators of arity 1 in use.
        term_nodes: Nodes of the largest term.
        offset: Whether a constant term is allowed: it would move parameters without a gradient too.
        quotient: Whether one total quotient is tried.
        rows: Rows in use, drawn evenly, of either table.
        polish: Members, the smallest first, whose inner constants are fitted.

    Raises:
        UserError: If a number is not positive or an operator is unknown.
    """

    name: ClassVar[str] = "evolved"

    generations: int = 9
    population: int = 250
    islands: int = 4
    unary: tuple[str, ...] = UNARY
    term_nodes: int = 9
    offset: bool = False
    quotient: bool = True
    rows: int = 5000
    polish: int = 12

    def __post_init__(self) -> None:
        for key in ("generations", "population", "islands", "term_nodes", "rows"):
            if getattr(self, key) < 1:
                raise UserError(
                    f"evolved.{key} must be positive", value=getattr(self, key), mend="leave it at its default"
                )
        if self.polish < 0:
            raise UserError("evolved.polish must not be negative", value=self.polish, mend="use 0 for none")
        for op in self.unary:
            if op not in UNARY:
                raise unknown_name("operator of arity 1", op, UNARY)

    def fit(self, train: Data, val: Data, budget: Budget, seed: int, pmap: Pmap = map) -> Sequence[Expression]:
        """See :class:`~rayl2o.symbolic.engines.base.Engine`.

        Raises:
            UserError: If a column cannot be named in a formula, or a table has no rows.
        """
        with threadpool_limits(1):  # sums in BLAS depend on the number of threads
            return self._fit(train, val, budget, seed, pmap)

    def _fit(self, train: Data, val: Data, budget: Budget, seed: int, pmap: Pmap) -> list[Expression]:
        if not len(train.y) or not len(val.y):
            raise UserError(
                "a table without rows", value=(len(train.y), len(val.y)), mend="give rows to fit and to check"
            )
        ends = time.process_time() + budget.cpu_s
        train, val = thinned(train, self.rows), thinned(val, self.rows)
        judge = Judge.of(train, val, budget.max_complexity, derive_seed(seed, "evolved", "folds"))
        columns = judge.train
        linear = [leaf for leaf in Grammar(train.names).leaves if usable(stacked([leaf], columns))[0]]
        if not linear:
            return [Expression(Const(0.0))]
        grammar = Grammar(tuple(str(leaf) for leaf in map(_name, linear)), self.unary, self.term_nodes)
        terms = self._terms(thinned(train, _SEARCH_ROWS), grammar, budget, seed, pmap)
        extra: list[Node] = [Const(1.0)] if self.offset else []
        everything = sound_terms([*linear, *extra, *terms], columns)
        members = list(_sums(everything, len(linear), columns, train.y, budget.max_complexity))
        members += self._polished(members, columns, train.y)
        if self.quotient:
            members += _quotients(everything, len(linear), columns, train.y, budget.max_complexity, ends)
        return judge.front(members) or [Expression(Const(0.0))]

    def _terms(self, data: Data, grammar: Grammar, budget: Budget, seed: int, pmap: Pmap) -> list[Node]:
        """The survivors of all islands, each once, in the order of the islands."""
        columns = columns_of(data)
        factor = _first_factor(grammar, columns, data.y) if self.quotient else None
        tasks = [
            IslandTask(
                _part(data, grammar.names),
                grammar,
                factor,
                self.generations,
                self.population,
                0.5 * budget.cpu_s / self.islands,
                derive_seed(seed, "evolved", "island", i),
            )
            for i in range(self.islands)
        ]
        return list(dict.fromkeys(term for terms in pmap(_evolve_alone, tasks) for term in terms))

    def _polished(self, members: Sequence[Member], columns: Columns, y: Floats) -> list[Member]:
        """The smallest members that have constants inside, polished on some rows and fitted again on all."""
        step = max(1, len(y) // _SEARCH_ROWS)
        some = {operand: x[::step] for operand, x in columns.items()}
        found: list[Member] = []
        for member in [member for member in members if any(map(constants_of, member.terms))][: self.polish]:
            better = polished(member, some, y[::step])
            if better != member:
                found.append(better.with_weights(weights(better.columns(columns), y)))
        return found


def thinned(data: Data, rows: int) -> Data:
    """At most ``rows`` rows, evenly spaced."""
    if len(data.y) <= rows:
        return data
    keep = np.linspace(0, len(data.y) - 1, rows).astype(np.int64)
    return Data(data.names, data.x[keep], data.y[keep], None if data.group is None else data.group[keep])


def sound_terms(terms: Sequence[Node], columns: Columns) -> list[Node]:
    """Those that vary soundly on these rows (a constant term stays), each once."""
    unique = list(dict.fromkeys(terms))
    good = usable(stacked(unique, columns))
    return [term for term, keep in zip(unique, good, strict=True) if keep or isinstance(term, Const)]


def _evolve_alone(task: IslandTask) -> list[Node]:
    with threadpool_limits(1):
        return evolve(task)


def _name(leaf: Node) -> str:
    return str(getattr(leaf, "operand"))  # noqa: B009


def _part(data: Data, names: tuple[str, ...]) -> Data:
    places = [data.names.index(name) for name in names]
    return Data(names, data.x[:, places], data.y, data.group)


def _sums(terms: Sequence[Node], linear: int, columns: Columns, y: Floats, most_nodes: int) -> Iterator[Member]:
    """Sums of several lengths: compact ones, linear ones, and all linear columns with terms on top."""
    x = stacked(terms, columns)
    cost = np.array([float(cost_of(term)) for term in terms])
    everything, only = Pool(x, cost), Pool(x[:, :linear], cost[:linear])
    longest = max(1, most_nodes // 4 + 1)
    orders = [forward(everything, y, longest, thrift=thrift) for thrift in (1.0, 0.5, 0.0)]
    orders.append(forward(only, y, linear, thrift=0.0))
    paths = [(order, 1) for order in orders]
    if 4 * linear < most_nodes:
        paths.append((forward(everything, y, longest - linear, range(linear)), linear))
    chosen = [order[:k] for order, least in paths for k in _sizes(least, len(order))]
    counts = [k for k in _LINEAR_TERMS if k < linear]
    chosen += [list(order) for order, _ in pursue(x[:, :linear], y, counts)] if counts else []
    for part in dict.fromkeys(tuple(sorted(part)) for part in chosen):
        member = Member(tuple(terms[i] for i in part), ())
        yield member.with_weights(weights(x[:, part], y))


def _sizes(least: int, most: int) -> list[int]:
    """Every size up to 12, then about every tenth more."""
    sizes, size = [], least
    while size <= most:
        sizes.append(size)
        size = size + 1 if size < 12 else max(size + 1, int(size * 1.1))
    return sizes


def _parts(terms: Sequence[Node], columns: Columns, y: Floats) -> Parts:
    positive: list[Node] = []
    for term in terms[: _UNDER_TERMS + len(columns)]:
        if isinstance(term, Const):
            continue
        own = isinstance(term, Unary) and term.op in _POSITIVE
        positive += [term] if own else [Unary("square", term), Unary("abs", term)]
    under = sound_terms(positive, columns)
    x = stacked(under, columns)
    mean = x.mean(axis=0)
    kept = mean > 1e-9
    under, mean = [term for term, keep in zip(under, kept, strict=True) if keep], mean[kept]
    cost = [np.array([float(cost_of(term)) for term in part]) for part in (terms, under)]
    return Parts(tuple(terms), stacked(terms, columns), cost[0], tuple(under), x[:, kept] / mean, mean, cost[1], y)


def _first_factor(grammar: Grammar, columns: Columns, y: Floats) -> Floats | None:
    """One over the divisor of the best quotient of columns alone; None if there is none."""
    parts = _parts(grammar.leaves, columns, y)
    best: tuple[float, Floats] | None = None
    for start in starts(parts, len(grammar.names), _START_ROWS, _FIRST_STARTS):
        for quotient in grow(parts, start, 60):
            last = quotient
        member = last.member(parts)
        error = float(np.sum((member.columns(columns) @ np.array(member.weights) - y) ** 2))
        if member.divisor is not None and (best is None or error < best[0]):
            best = error, 1.0 / member.divisor.values(columns)
    return None if best is None else best[1]


def _quotients(
    terms: Sequence[Node], linear: int, columns: Columns, y: Floats, most_nodes: int, ends: float
) -> list[Member]:
    """Quotients over the columns alone and over all terms, each fitted on all rows; a few with a free exponent."""
    members: list[Member] = []
    step = max(1, len(y) // _GROW_ROWS)
    some = {operand: x[::step] for operand, x in columns.items()}
    pools = [(list(terms[:linear]), _STARTS), (list(terms), _FIRST_STARTS)]
    for pool, counts in pools if len(terms) > linear else pools[:1]:
        parts = _parts(pool, some, y[::step])
        for start in starts(parts, linear, _START_ROWS, counts):
            path = list(_until(grow(parts, start, most_nodes + 10), lambda: time.process_time() > ends))
            found = [quotient.member(parts) for quotient in path]
            for limit in (25, 60, 100):
                fitting = [quotient for quotient in path if nodes_of(parts, quotient) <= limit]
                found += [_freed(parts, fitting[-1])] if fitting else []
            found += [
                pruned(parts, quotient).member(parts) for quotient in path if nodes_of(parts, quotient) <= _PRUNED
            ]
            members += [member.with_weights(weights(member.columns(columns), y)) for member in found]
    return members


def _freed(parts: Parts, quotient: Quotient) -> Member:
    free = Quotient(quotient.over, quotient.under, quotient.logs, quotient.power, free=True)
    return refine(parts, free, 12).member(parts)


def _until(path: Iterator[Quotient], over: Callable[[], bool]) -> Iterator[Quotient]:
    for quotient in path:
        yield quotient
        if over():
            return
