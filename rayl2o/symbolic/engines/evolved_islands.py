"""One island: terms evolved alone from its own seed. What survives is what the linear head chooses.

Three populations take turns, each against its own aim: the target from scratch (compact sums), what all columns together leave
of it (the linear columns are always kept, terms are evolved for the residual), and the target under a divisor found beforehand.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from rayl2o.rules.nodes import Node
from rayl2o.symbolic.engines.base import Data, Floats
from rayl2o.symbolic.engines.evolved_member import cost_of, stacked
from rayl2o.symbolic.engines.evolved_values import Columns, columns_of
from rayl2o.symbolic.engines.head import Pool, forward
from rayl2o.symbolic.engines.terms import Grammar

_SURVIVORS = 16


@dataclass(frozen=True)
class IslandTask:
    """What crosses to a worker.

    Attributes:
        data: Rows to fit, few enough to be quick.
        grammar: What terms are made of.
        factor: ``[R]``, one over the divisor; None for none.
        generations, population: Size of the search.
        cpu_s: Ceiling, checked between generations.
        seed: Of this island.
    """

    data: Data
    grammar: Grammar
    factor: Floats | None
    generations: int
    population: int
    cpu_s: float
    seed: int


def evolve(task: IslandTask) -> list[Node]:
    """The surviving terms, those of the compact sums first."""
    began = time.process_time()
    draws = np.random.default_rng(task.seed)
    columns, linear = columns_of(task.data), task.grammar.leaves
    base = stacked(linear, columns)
    aims = [_Aim(base, task.data.y, None), _Aim(base, task.data.y, _basis(base))]
    if task.factor is not None:
        aims.append(_Aim(base * task.factor[:, None], task.data.y, None, task.factor))
    survivors: list[list[Node]] = [[] for _ in aims]
    first = task.grammar.first()
    for generation in range(task.generations):
        turn = generation % len(aims)
        fresh = list(first) if not survivors[turn] else []
        fresh += _offspring(task, draws, survivors[turn], survivors, linear)
        survivors[turn] = _chosen(aims[turn], survivors[turn] + fresh, columns)
        if time.process_time() - began > task.cpu_s:
            break
    return list(dict.fromkeys(term for part in survivors for term in part))


@dataclass(frozen=True)
class _Aim:
    """What a population is chosen for."""

    linear: Floats
    y: Floats
    basis: Floats | None
    factor: Floats | None = None


def _basis(base: Floats) -> Floats:
    """Orthonormal columns that span the linear ones."""
    u, s, _ = np.linalg.svd(base, full_matrices=False)
    return np.asarray(u[:, s > 1e-9 * max(float(s[0]), 1e-300)]) if s.size else u


def _offspring(
    task: IslandTask, draws: np.random.Generator, own: list[Node], everyone: list[list[Node]], linear: list[Node]
) -> list[Node]:
    others = [term for part in everyone for term in part] + linear
    terms: list[Node] = []
    for _ in range(task.population):
        if not own or draws.random() < 0.2:
            terms.append(task.grammar.draw(draws, task.grammar.max_nodes))
            continue
        # The first are those the head chose first: they are varied more often.
        parent = own[int(len(own) * draws.random() ** 1.5)]
        term = task.grammar.vary(draws, parent, others)
        terms.append(task.grammar.vary(draws, term, others) if draws.random() < 0.3 else term)
    return terms


def _chosen(aim: _Aim, terms: list[Node], columns: Columns) -> list[Node]:
    """The terms that the head takes, in its order."""
    known = set(columns)
    terms = [term for term in dict.fromkeys(terms) if getattr(term, "operand", None) not in known]
    table = stacked(terms, columns)
    sound = usable(table)
    terms, table = [term for term, good in zip(terms, sound, strict=True) if good], table[:, sound]
    table = table if aim.factor is None else table * aim.factor[:, None]
    cost = np.array([float(cost_of(term)) for term in terms])
    y, linear = aim.y, 0
    if aim.basis is not None:
        table = table - aim.basis @ (aim.basis.T @ table)
        y = y - aim.basis @ (aim.basis.T @ y)
    else:
        linear = aim.linear.shape[1]
        table, cost = np.concatenate((aim.linear, table), axis=1), np.concatenate((np.full(linear, 4.0), cost))
    if not table.shape[1]:
        return []
    return [terms[i - linear] for i in forward(Pool(table, cost), y, _SURVIVORS) if i >= linear]


def usable(table: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which columns ``[R, K]`` vary, within bounds.

    How much rests on one row is no ground to drop a term: in exp of a heavy-tailed column nearly all of the variance may.
    """
    spread = table.std(axis=0)
    return np.asarray((spread > 1e-9) & (spread < 1e6))
