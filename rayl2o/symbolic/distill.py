"""From a learned rule to a formula, the whole way: record, fit, guard, select in closed loop, gain control, fine-tune, measure.

Distilled, gained and tuned are three results in three columns: a tuned rule is no longer a distillation.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Rule
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.candidate import Candidate, predict
from rayl2o.symbolic.finetune import FinetuneConfig, Tuned, coefficient_scales, finetune
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.linear import LinearConfig, fit
from rayl2o.symbolic.metrics import feature_sensitivity, r2, sensitivity, tpf, tpf_of
from rayl2o.symbolic.runs import ROLES, Runs
from rayl2o.symbolic.selection import Gain, Pmap, Score, score, search_gain, select
from rayl2o.symbolic.table import Table, make_table, operands_of
from rayl2o.symbolic.trajectories import Trajectories, collect
from rayl2o.tasks.base import TaskFamily


@dataclass(frozen=True)
class DistillConfig:
    """Settings of a distillation.

    Attributes:
        seed: Every draw derives from it and from the role it is for; roles never share runs.
        horizon: Inner steps for which the formula is meant: length of every run and episode.
        mode: Operands, ``ema`` or ``paper`` (see :func:`~rayl2o.symbolic.table.operands_of`).
        collect, validate, select, tune: Runs per role: fitting, held-out rows, choosing in closed loop, fine-tuning.
        rows: Rows of each table.
        per_tensor: Coordinates recorded per tensor and run.
        linear: The engine.
        candidates: Members of the front that are run in closed loop.
        tolerance: The simplest candidate within this share of the best mean loss is selected.
        gains: Grid of the one-gain control: lowest, highest, points; 0 points turn it off.
        finetune: Fine-tuning; 0 updates turn it off.
        mc_threshold: Held-out R2 at which MC is read off the front.
    """

    seed: int = 0
    horizon: int = 1000
    mode: str = "ema"
    collect: int = 2
    validate: int = 2
    select: int = 3
    tune: int = 2
    rows: int = 5000
    per_tensor: int = 16
    linear: LinearConfig = field(default_factory=LinearConfig)
    candidates: int = 8
    tolerance: float = 0.02
    gains: tuple[float, float, int] = (0.5, 5.0, 7)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    mc_threshold: float = 0.8

    def __post_init__(self) -> None:
        for name in ("horizon", "collect", "validate", "select", "tune", "rows", "per_tensor", "candidates"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"distil.{name} must be at least 1", value=getattr(self, name), mend="leave it at its default"
                )


@dataclass(frozen=True)
class Variant:
    """One of the three columns: a rule, how it does on the selection runs, how well it still imitates the network."""

    rule: SymbolicRule
    score: Score
    r2: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        return {"rule": self.rule.to_json(), "score": self.score.to_json(), "r2": self.r2, "buffers": self.rule.buffers}


@dataclass(frozen=True)
class Measures:
    """TPF and MC of S, with what they depend on.

    Attributes:
        network_tpf: Of the learned rule, by its sensitivity to past gradients.
        network_signal_tpf: Of RNNprop, by its sensitivity to its own features; empty for other rules.
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
        distilled, gained, tuned: Three columns; None where turned off.
        gain: The line search; None if turned off.
        tuning: The fine-tuning; None if turned off.
        measures: TPF and MC.
        seconds: Wall seconds by stage.
    """

    front: Front
    selected: Candidate
    network: Score
    distilled: Variant
    gained: Variant | None
    tuned: Variant | None
    gain: Gain | None
    tuning: Tuned | None
    measures: Measures
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data, for reports; rules and front have readers of their own."""
        columns = {name: getattr(self, name) for name in ("distilled", "gained", "tuned")}
        return {
            "front": self.front.to_json(),
            "selected": self.selected.to_json(),
            "network": self.network.to_json(),
            **{name: None if column is None else column.to_json() for name, column in columns.items()},
            "gains": None if self.gain is None else [list(point) for point in self.gain.tried],
            "tuning": None if self.tuning is None else [list(point) for point in self.tuning.history],
            "measures": self.measures.to_json(),
            "seconds": dict(self.seconds),
        }


def runs_of(family: TaskFamily, config: DistillConfig) -> dict[str, Runs]:
    """The runs of every role."""
    return {role: Runs(family, config.seed, role, getattr(config, role)) for role in ROLES}


def tables(
    rule: Rule, phi: Mapping[str, Tensor], family: TaskFamily, config: DistillConfig
) -> tuple[Table, Table, Trajectories]:
    """Training table, held-out table (of other runs), and the held-out trajectories."""
    runs, operands = runs_of(family, config), operands_of(rule.kind, config.mode)
    fitted, held_out = (
        collect(rule, phi, runs[role], config.horizon, config.per_tensor, config.seed)
        for role in ("collect", "validate")
    )
    return (
        make_table(fitted, operands, config.rows, config.seed),
        make_table(held_out, operands, config.rows, config.seed),
        held_out,
    )


def distill(
    rule: Rule, phi: Mapping[str, Tensor], family: TaskFamily, config: DistillConfig | None = None, pmap: Pmap = map
) -> Distillation:
    """Distils a learned rule on tasks of a family.

    Args:
        rule, phi: A coordinate-wise rule with its weights.
        family: Tasks on which it is recorded, selected and tuned.
        config: Settings.
        pmap: Runs the closed-loop jobs, in order.

    Raises:
        UserError: If the rule is not coordinate-wise, diverges at once, or no formula passes guards and closed loop.
    """
    config = config or DistillConfig()
    runs, clock = runs_of(family, config), _Clock()
    train, val, trajectories = tables(rule, phi, family, config)
    clock.lap("record")
    front = fit(train, val, config.linear)
    clock.lap("fit")
    network = score(rule, phi, runs["select"], config.horizon)
    chosen = select(front, runs["select"], config.horizon, config.candidates, config.tolerance, pmap)
    clock.lap("select")
    plain = chosen.chosen.rule(name="distilled")
    gain = _gain(plain, runs["select"], config)
    clock.lap("gain")
    tuning = _tune(plain, gain, runs, config, train)
    clock.lap("tune")
    measures = _measures(rule, phi, plain, chosen.front, trajectories, config)
    clock.lap("measure")
    return Distillation(
        front=chosen.front,
        selected=chosen.chosen,
        network=network,
        distilled=_variant(plain, chosen.score, val),
        gained=None if gain is None else _variant(replace(plain, gain=gain.gain, name="gained"), gain.score, val),
        tuned=None if tuning is None else _variant(replace(tuning.rule, name="tuned"), tuning.score, val),
        gain=gain,
        tuning=tuning,
        measures=measures,
        seconds=clock.seconds,
    )


class _Clock:
    """Wall seconds between laps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self._last = now


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


def _fidelity(rule: SymbolicRule, val: Table) -> float:
    """Held-out R2 of the whole rule against the network, gain included."""
    if rule.clamp is None:
        raise ValueError("a distilled rule ships with its clamp")
    return r2(val.y, rule.gain * predict(rule.expression, val, rule.clamp))


def _variant(rule: SymbolicRule, result: Score, val: Table) -> Variant:
    return Variant(rule, result, _fidelity(rule, val))


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
    features = feature_sensitivity(rule, phi, trajectories) if isinstance(rule, RnnProp) else {}
    return Measures(
        network_tpf=tpf_of(sensitivity(rule, phi, trajectories)),
        network_signal_tpf={signal: tpf_of(weights) for signal, weights in features.items()},
        formula_tpf=tpf_of(sensitivity(plain, formula_phi, trajectories)),
        signal_tpf=tpf(plain.expression) if linear else {},
        mc=front.mapping_complexity(config.mc_threshold),
        mc_threshold=config.mc_threshold,
    )
