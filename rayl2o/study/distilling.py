"""A rule distilled and measured, as plain numbers: TPF, MC, R2 and what they depend on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from rayl2o.rules.base import Rule
from rayl2o.study.distillation import Distillation
from rayl2o.study.scoring import rounded
from rayl2o.symbolic.candidate import Candidate
from rayl2o.symbolic.complexity import inputs, mapping_complexity
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.engines.base import Budget
from rayl2o.symbolic.engines.registry import engine
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.guards import NOT_MONOTONE
from rayl2o.symbolic.perception import perceive
from rayl2o.symbolic.search import search
from rayl2o.symbolic.tables import Recorded, record

Record = dict[str, Any]


def distilled(rule: Rule, phi: Mapping[str, Tensor], asked: Distillation, label: str = "") -> Record:
    """Records the rule on the task, searches formulas over each set of operands, and measures.

    Args:
        rule, phi: A coordinate-wise rule; ``phi`` is empty for one without weights.
        asked: What to do.
        label: Text of a known rule, by which ``asked.signals`` may name it.

    Returns:
        ``perception``: TPF by horizon, then by input, in steps. ``method``: how it was taken. ``searches``, by mode: ``cpu_s``,
        ``front`` (a line per formula), ``complexity`` (MC by error, None where no formula comes within it), ``best`` (by number
        of nodes) and ``sound`` (the same of formulas that no guard refuses: the others say what the rule does, but must not be
        run). ``r2_val`` decides which formula stands there; ``r2_test`` is on rows of runs that chose nothing.

    Raises:
        UserError: If the rule is not coordinate-wise, its runs diverge at once, or the engine finds no formula.
    """
    family, method = asked.make_family(), ""
    perception: dict[str, dict[str, float]] = {}
    searches: dict[str, Record] = {}
    for mode in asked.modes:
        recorded = record(rule, phi, family, _config(rule, asked, mode, label))
        if not perception:
            for horizon in asked.horizons:
                seen = perceive(rule, phi, recorded.trajectories, horizon)
                perception[str(horizon)], method = _rounded(seen.tpf), seen.method
        searches[mode] = _searched(recorded, asked)
    return {"perception": perception, "method": method, "searches": searches}


def _config(rule: Rule, asked: Distillation, mode: str, label: str) -> DistillConfig:
    return DistillConfig(
        seed=asked.seed,
        horizon=asked.steps,
        mode=mode,
        signals=asked.signals.get(label, asked.signals.get(rule.kind, ())),
        collect=asked.runs,
        validate=asked.runs,
        test=asked.runs,
        rows=asked.rows,
    )


def _searched(recorded: Recorded, asked: Distillation) -> Record:
    budget = Budget(asked.cpu_s, asked.max_complexity)
    found = search(recorded.tables, engine(asked.engine, asked.settings), budget, asked.search_seeds)
    front, sound = _unguarded(found.front), found.front.candidates
    return {
        "cpu_s": round(found.cpu_s, 2),
        "front": [_line(candidate) for candidate in front],
        "complexity": {f"{error:g}": _simplest(front, error) for error in asked.errors},
        "best": {str(nodes): _largest(front, nodes) for nodes in asked.nodes},
        "sound": {str(nodes): _largest(sound, nodes) for nodes in asked.nodes},
    }


def _unguarded(front: Front) -> tuple[Candidate, ...]:
    """The front as it would be without guards, as S has none: MC is of what a rule does, not of what may be run."""
    beaten = [any(reason.name == NOT_MONOTONE for reason in candidate.refused) for candidate in front.refused]
    guarded = [candidate for candidate, out in zip(front.refused, beaten, strict=True) if not out]
    return Front.of(replace(candidate, refused=()) for candidate in (*front.candidates, *guarded)).candidates


def _simplest(front: Sequence[Candidate], error: float) -> Record | None:
    """MC at this error, with what stands for it."""
    found = mapping_complexity(front, error)
    if found.nodes is None or found.error is None:
        return None
    r2_val = _number(1.0 - found.error)
    return {"nodes": found.nodes, "inputs": found.inputs, "r2_val": r2_val, "formula": found.formula}


def _largest(front: Sequence[Candidate], nodes: int) -> Record | None:
    """The best formula of at most so many nodes: the last of these, as a front only gets better."""
    small = [candidate for candidate in front if candidate.complexity <= nodes]
    return {**_line(small[-1]), "formula": str(small[-1].expression)} if small else None


def _line(candidate: Candidate) -> Record:
    scores = ("r2_val", "r2_test", "r2_early", "r2_late", "r2_stretched")
    return {
        "nodes": candidate.complexity,
        "inputs": inputs(candidate.expression),
        "buffers": candidate.buffers,
        **{name: _number(getattr(candidate, name)) for name in scores},
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else rounded([value])[0]


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return dict(zip(values, rounded(list(values.values())), strict=True))
