"""From tables to a front by any engine: every formula is folded back, rounded, scored again and guarded by us."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Node
from rayl2o.rules.operands import Operand, column_operand
from rayl2o.symbolic.candidate import assess, predict, scored
from rayl2o.symbolic.engines.asking import ask, understood
from rayl2o.symbolic.engines.base import Budget, Engine, Pmap
from rayl2o.symbolic.engines.cpu_time import cpu_time
from rayl2o.symbolic.folding import folded, scaled
from rayl2o.symbolic.front import LEAST_GAIN, Front, not_monotone
from rayl2o.symbolic.metrics import r2
from rayl2o.symbolic.tables import Tables

DIGITS = (3, 4, 5, 6)
"""Significant digits that constants are rounded to: the fewest that leave R2 as it was."""
ROUNDING = 1e-3
"""Share of 1 - R2 that rounding may add, on fitted and on validation rows."""
_SHOWN = 40


@dataclass(frozen=True)
class Found:
    """What a search brought.

    Attributes:
        front: Its candidates.
        cpu_s: CPU seconds, processes of its own included.
        dropped: What the engine said that is no formula over the table, a sentence each.
    """

    front: Front
    cpu_s: float
    dropped: tuple[str, ...] = ()


def search(
    tables: Tables,
    engine: Engine,
    budget: Budget | None = None,
    seeds: Sequence[int] = (0,),
    pmap: Pmap = map,
) -> Found:
    """Runs an engine once from every seed and merges what it finds.

    Args:
        tables: Fitted rows and those that choose; test and stretched rows are only scored.
        engine: See :class:`~rayl2o.symbolic.engines.base.Engine`.
        budget: Of each of the searches.
        seeds: Of the searches.
        pmap: For the engine.

    Returns:
        A front with at least a candidate or a refusal; equal for equal arguments, whatever ``pmap``, if the engine is repeatable.

    Raises:
        UserError: If the engine fails, or finds nothing that is a formula over the table.
    """
    begun = cpu_time()
    train = tables.train
    data, checks = train.data(), tables.val.data(train)
    leaves: dict[Operand, Node] = {
        column_operand(name): scaled(operand, float(scale))
        for name, operand, scale in zip(train.names, train.operands, train.x_scale, strict=True)
    }

    def read(formula: Expression) -> Expression:
        return _rounded(folded(formula, leaves, train.y_scale), tables)

    found: dict[Expression, None] = {}
    dropped: list[str] = []
    for seed in seeds:
        formulas, nonsense = understood(ask(engine, data, checks, budget or Budget(), seed, pmap), read)
        found |= dict.fromkeys(formulas)
        dropped += nonsense
    if not found:
        raise UserError(
            f"engine {engine.name!r} found no formula over the table",
            value=dropped[:3],
            mend="try another engine, or more time",
        )
    most = (budget or Budget()).max_complexity  # scales that stay inside a function add nodes
    small = [formula for formula in found if formula.complexity <= most] or list(found)
    front = front_of(small, tables, engine.name)
    return Found(front, cpu_time() - begun, tuple(dropped))


def front_of(formulas: Iterable[Expression], tables: Tables, engine: str) -> Front:
    """The front of formulas in the rule's own units: guards are asked only of those that would enter it.

    Of the others the :data:`_SHOWN` best are kept as refused.
    """
    clamp = tables.train.y_limit
    fits = {formula: r2(tables.val.y, predict(formula, tables.val, clamp)) for formula in formulas}
    order = sorted(fits, key=lambda f: (f.complexity, -fits[f] if np.isfinite(fits[f]) else np.inf, str(f)))
    kept, refused, beaten, best = [], [], [], -np.inf
    for formula in order:
        if not fits[formula] > best + LEAST_GAIN:
            beaten.append((formula, best))
            continue
        candidate = assess(formula, tables.train, tables.val, engine, tables.test, tables.stretched)
        if candidate.refused:
            refused.append(candidate)
        else:
            kept.append(candidate)
            best = candidate.r2_val
    beaten.sort(key=lambda pair: -fits[pair[0]] if np.isfinite(fits[pair[0]]) else np.inf)
    shown = [
        not_monotone(scored(formula, tables.train, tables.val, engine, tables.test, tables.stretched), bar)
        for formula, bar in beaten[:_SHOWN]
    ]
    return Front(tuple(kept), (*refused, *shown))


def merged(fronts: Sequence[Front]) -> Front:
    """One front of several, on the same tables; a formula that two found counts as the first one's."""
    members = {candidate.expression: candidate for front in reversed(fronts) for candidate in front.candidates}
    whole = Front.of(members.values())
    return Front(whole.candidates, (*(c for front in fronts for c in front.refused), *whole.refused))


def _rounded(formula: Expression, tables: Tables) -> Expression:
    """Constants of as few digits as leave R2 on fitted and validation rows as it was."""
    clamp, checks = tables.train.y_limit, (tables.train, tables.val)
    before = [1.0 - r2(table.y, predict(formula, table, clamp)) for table in checks]
    for digits in DIGITS:
        try:
            shorter = formula.rounded(digits).simplify()
        except UserError:  # rounded up beyond the largest constant
            continue
        after = [1.0 - r2(table.y, predict(shorter, table, clamp)) for table in checks]
        if all(a <= b * (1 + ROUNDING) + 1e-9 for a, b in zip(after, before, strict=True)):
            return shorter
    return formula
