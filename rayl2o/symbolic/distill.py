"""From a learned rule to a formula, the whole way: record, fit, guard, select in closed loop, gain control, fine-tune, measure.

Distilled, gained and tuned are three results in three columns: a tuned rule is no longer a distillation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Rule
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.candidate import Candidate, predict
from rayl2o.symbolic.complexity import mapping_complexity
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.engines.base import Engine, Pmap
from rayl2o.symbolic.engines.cpu_time import cpu_time
from rayl2o.symbolic.engines.registry import engine
from rayl2o.symbolic.finetune import Tuned, coefficient_scales, finetune
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.metrics import HORIZON, r2, sensitivity, tpf, tpf_of
from rayl2o.symbolic.perception import perceive, perceive_formula
from rayl2o.symbolic.pictures import Pictures
from rayl2o.symbolic.runs import ROLES, Runs
from rayl2o.symbolic.search import merged, search
from rayl2o.symbolic.selection import Gain, Job, Score, run_job, score, search_gain, select
from rayl2o.symbolic.table import Table
from rayl2o.symbolic.tables import Tables, record
from rayl2o.symbolic.trajectories import Trajectories
from rayl2o.tasks.base import TaskFamily

_COLUMNS = 64
"""Coordinates on which the TPF of front members is measured."""


@dataclass(frozen=True)
class Variant:
    """One of the three columns.

    Attributes:
        rule: It.
        score: On the selection runs, on which it was chosen.
        held_out: On runs that chose nothing: what may be quoted.
        r2: How well it still imitates the network, on test rows.
    """

    rule: SymbolicRule
    score: Score
    held_out: Score
    r2: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        return {
            "rule": self.rule.to_json(),
            "score": self.score.to_json(),
            "held_out": self.held_out.whole_json(),
            "r2": self.r2,
            "buffers": self.rule.buffers,
        }


@dataclass(frozen=True)
class Measures:
    """TPF and MC of S, with what they depend on.

    Attributes:
        network_tpf: Of the learned rule, by its sensitivity to past gradients.
        network_signal_tpf: Of rules that feed features to a network, by its sensitivity to those; empty for other rules.
        formula_tpf: Of the distilled formula, likewise: the two can be compared.
        signal_tpf: Of the distilled formula by eq. 3, per signal; empty if it is not linear.
        mc: Nodes of the simplest front member with held-out R2 >= ``mc_threshold``; None if none reaches it.
        mc_threshold: See ``mc``.
    """

    network_tpf: float
    network_signal_tpf: Mapping[str, float]
    formula_tpf: float
    signal_tpf: Mapping[str, float]
    mc: int | None
    mc_threshold: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        return {
            **vars(self),
            "signal_tpf": dict(self.signal_tpf),
            "network_signal_tpf": dict(self.network_signal_tpf),
        }


@dataclass(frozen=True)
class Distillation:
    """Everything that a distillation found.

    Attributes:
        front: Candidates with closed-loop scores, and those refused.
        selected: The candidate chosen in closed loop.
        network: The learned rule's own score on the selection runs.
        network_held_out: The same on runs that chose nothing.
        distilled, gained, tuned: Three columns; None where turned off.
        gain: The line search; None if turned off.
        tuning: The fine-tuning; None if turned off.
        measures: TPF and MC.
        seconds, cpu_seconds: Wall and CPU seconds by stage; processes that a ``pmap`` keeps are not in the latter.
        cpu_s: CPU seconds of the searches.
        failures: Engines that failed, with what they said; the others' front is what there is.
        pictures: The network beside the distilled formula on the test runs.
    """

    front: Front
    selected: Candidate
    network: Score
    network_held_out: Score
    distilled: Variant
    gained: Variant | None
    tuned: Variant | None
    gain: Gain | None
    tuning: Tuned | None
    measures: Measures
    seconds: Mapping[str, float]
    cpu_seconds: Mapping[str, float]
    cpu_s: float
    failures: Mapping[str, str]
    pictures: Pictures

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data, for reports; rules and front have readers of their own."""
        columns = {name: getattr(self, name) for name in ("distilled", "gained", "tuned")}
        return {
            "front": self.front.to_json(),
            "selected": self.selected.to_json(),
            "network": self.network.to_json(),
            "network_held_out": self.network_held_out.whole_json(),
            **{name: None if column is None else column.to_json() for name, column in columns.items()},
            "gains": None if self.gain is None else [list(point) for point in self.gain.tried],
            "tuning": None if self.tuning is None else [list(point) for point in self.tuning.history],
            "measures": self.measures.to_json(),
            "seconds": dict(self.seconds),
            "cpu_seconds": dict(self.cpu_seconds),
            "cpu_s": self.cpu_s,
            "failures": dict(self.failures),
            "pictures": self.pictures.to_json(),
        }


def distill(
    rule: Rule,
    phi: Mapping[str, Tensor],
    family: TaskFamily,
    config: DistillConfig | None = None,
    pmap: Pmap = map,
    keep: Callable[[Tables], None] | None = None,
) -> Distillation:
    """Distils a learned rule on tasks of a family.

    Args:
        rule, phi: A coordinate-wise rule with its weights.
        family: Tasks on which it is recorded, selected and tuned.
        config: Settings.
        pmap: Runs recordings, the islands of a search and closed-loop jobs, in order; the result does not depend on it.
        keep: Told the tables before any search.

    Raises:
        UserError: If the rule is not coordinate-wise, diverges at once, the engine cannot run here, or no formula passes guards
            and closed loop.
    """
    config = config or DistillConfig()
    engines = [
        engine("linear"),
        *([] if config.engine == "linear" else [engine(config.engine, config.engine_settings)]),
    ]
    runs, clock = {role: Runs(family, config.seed, role, getattr(config, role)) for role in ROLES}, _Clock()
    recorded = record(rule, phi, family, config, pmap)
    if keep is not None:
        keep(recorded.tables)
    clock.lap("record")
    front, cpu_s, failures = _searched(engines, recorded.tables, config, pmap)
    clock.lap("fit")
    network = score(rule, phi, runs["select"], config.horizon)
    chosen = select(front, runs["select"], config.horizon, config.candidates, config.tolerance, pmap)
    clock.lap("select")
    plain = chosen.chosen.rule(name="distilled")
    gain = _gain(plain, runs["select"], config)
    clock.lap("gain")
    tuning = _tune(plain, gain, runs, config, recorded.tables.train)
    clock.lap("tune")
    columns = [(plain, chosen.score)]
    columns += [] if gain is None else [(replace(plain, gain=gain.gain, name="gained"), gain.score)]
    columns += [] if tuning is None else [(replace(tuning.rule, name="tuned"), tuning.score)]
    jobs = [Job(column, {}, runs["report"], config.horizon) for column, _ in columns]
    network_held_out, *held_out = pmap(run_job, [Job(rule, phi, runs["report"], config.horizon), *jobs])
    clock.lap("report")
    measured = _looks_back(chosen.front, recorded.trajectories)
    measures = _measures(rule, phi, plain, measured, recorded.trajectories, config)
    pictures = Pictures.of(rule, phi, plain, recorded.trajectories)
    clock.lap("measure")
    variants = {
        column.name: Variant(column, result, unseen, _fidelity(column, recorded.tables))
        for (column, result), unseen in zip(columns, held_out, strict=True)
    }
    return Distillation(
        front=measured,
        selected=next(c for c in measured.candidates if c.expression == chosen.chosen.expression),
        network=network,
        network_held_out=network_held_out,
        distilled=variants["distilled"],
        gained=variants.get("gained"),
        tuned=variants.get("tuned"),
        gain=gain,
        tuning=tuning,
        measures=measures,
        seconds=clock.seconds,
        cpu_seconds=clock.cpu_seconds,
        cpu_s=cpu_s,
        failures=failures,
        pictures=pictures,
    )


class _Clock:
    """Wall and CPU seconds between laps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self._last = time.perf_counter(), cpu_time()

    def lap(self, name: str) -> None:
        now = time.perf_counter(), cpu_time()
        self.seconds[name], self.cpu_seconds[name] = (
            after - before for after, before in zip(now, self._last, strict=True)
        )
        self._last = now


def _searched(
    engines: Sequence[Engine], tables: Tables, config: DistillConfig, pmap: Pmap
) -> tuple[Front, float, dict[str, str]]:
    """One front of all engines, the CPU seconds, and what those said that failed: the rest goes on without them.

    Raises:
        UserError: If all failed.
    """
    fronts, failures, cpu_s = [], {}, 0.0
    for one in engines:
        try:
            found = search(tables, one, config.budget, config.search_seeds if one.name != "linear" else (0,), pmap)
        except UserError as error:
            failures[one.name] = str(error)
            continue
        fronts.append(found.front)
        cpu_s += found.cpu_s
    if not fronts:
        raise UserError("every engine failed", value=failures, mend="distil with another engine or operands")
    return merged(fronts), cpu_s, failures


def _gain(plain: SymbolicRule, held_out: Runs, config: DistillConfig) -> Gain | None:
    low, high, points = config.gains
    if points == 0:
        return None
    return search_gain(plain, plain.init_phi(torch.Generator()), held_out, config.horizon, low, high, points)


def _tune(
    plain: SymbolicRule, gain: Gain | None, runs: Mapping[str, Runs], config: DistillConfig, train: Table
) -> Tuned | None:
    """Starts from the best gain, so that what it adds is what coefficients add."""
    if config.finetune.updates == 0:
        return None
    start = plain if gain is None else replace(plain, gain=gain.gain)
    spread = dict(zip(train.operands, train.x_scale.tolist(), strict=True))
    scales = coefficient_scales(plain.expression, spread)
    return finetune(start, runs["tune"], runs["select"], config.horizon, config.finetune, scales)


def _fidelity(rule: SymbolicRule, tables: Tables) -> float:
    """R2 of the whole rule against the network on test rows, gain included."""
    if rule.clamp is None:
        raise ValueError("a distilled rule ships with its clamp")
    rows = tables.val if tables.test is None else tables.test
    return r2(rows.y, rule.gain * predict(rule.expression, rows, rule.clamp))


def _looks_back(front: Front, trajectories: Trajectories) -> Front:
    """The front with the TPF of each member."""
    some = trajectories.columns(torch.arange(len(trajectories.valid)) % -(-len(trajectories.valid) // _COLUMNS) == 0)
    if some.steps < HORIZON:
        return front
    members = [replace(c, tpf=perceive_formula(c.expression, some).tpf) for c in front.candidates]
    return replace(front, candidates=tuple(members))


def _measures(
    rule: Rule,
    phi: Mapping[str, Tensor],
    plain: SymbolicRule,
    front: Front,
    trajectories: Trajectories,
    config: DistillConfig,
) -> Measures:
    formula_phi = plain.init_phi(torch.Generator())
    linear = plain.expression.linear_terms() is not None
    perceived = perceive(rule, phi, trajectories).tpf
    return Measures(
        network_tpf=tpf_of(sensitivity(rule, phi, trajectories)),
        network_signal_tpf=perceived if perceived.keys() != {"g"} else {},
        formula_tpf=tpf_of(sensitivity(plain, formula_phi, trajectories)),
        signal_tpf=tpf(plain.expression) if linear else {},
        mc=mapping_complexity(front.candidates, 1.0 - config.mc_threshold).nodes,
        mc_threshold=config.mc_threshold,
    )
