"""Figures of the meta-gradient: speed as a ratio to autograd through the unroll in the same run, and what is lost."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from rayl2o.benchmark.cosine import cosine, redrawn
from rayl2o.benchmark.row import Row, interleaved
from rayl2o.meta.bptt import bptt
from rayl2o.meta.learner import LearnerConfig, fresh_learner, learner_step, meta_gradient
from rayl2o.rules.base import Phi, Rule
from rayl2o.rules.published import import_weights
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import build, task
from rayl2o.trajectory import store
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket

STEPS = 20
COSINE_DRAWS = 8
AT_STEP = 100
"""Inner step at which everything is measured: past the start, where every rule still moves."""
LEFT_OUT = ("first_order", "curvature")
GAP_STEPS, GAP_UNROLLS, GAP_SEEDS = (0, 100, 500), (1, 2, 5, 10, 20), 5


@dataclass(frozen=True)
class _Case:
    """A rule with weights, standing at a step of a trajectory on MLP-orig, batch 128."""

    label: str
    rule: Rule
    phi: Phi
    ticket: Ticket
    state: SlotState | None


def _rules() -> list[tuple[str, Rule, Phi, str]]:
    """DM and RNNprop with the published weights on MNIST where RAYL2O_DATA has them, else fresh weights on digits."""
    folder = os.environ.get("RAYL2O_DATA")
    data = "mnist" if folder else "digits"
    found: list[tuple[str, Rule, Phi, str]] = []
    for kind, file in (("dm", "dm_cl_il"), ("rnnprop", "rnnprop_cl_il")):
        if folder:
            rule, phi = import_weights(Path(folder) / "l2o-checkpoints" / f"{file}.safetensors")
            found.append((f"{kind} ({file}) mlp-orig {data}", rule, phi, data))
        else:
            fresh = make(kind, {})
            phi = fresh.init_phi(generator("benchmark", kind))
            found.append((f"{kind} (fresh) mlp-orig {data}", fresh, phi, data))
    return found


def _cases() -> list[_Case]:
    return [_stand(*rule) for rule in _rules()]


def _stand(
    label: str, rule: Rule, phi: Phi, data: str, at_step: int | None = None, seed: int = 0, dtype: str = "float32"
) -> _Case:
    family = task("mlp-orig", data=data)
    ticket = Ticket("benchmark", seed, 0, 0, (family.sample(generator("benchmark")),), 1000)
    state: SlotState | None = None
    for _ in range((AT_STEP if at_step is None else at_step) // STEPS):
        _, state = rollout(rule, UnrollConfig(steps=STEPS, dtype=dtype), ticket, state, phi)
    return _Case(label, rule, phi, ticket, state)


def _config(case: _Case, credit: str, percent: int) -> UnrollConfig:
    size = build(case.ticket.specs).layout.size
    if percent == 100:
        return UnrollConfig(steps=STEPS, credit=credit)
    return UnrollConfig(steps=STEPS, credit=credit, sampling="importance", coords_per_row=size * percent // 100)


def _rtg(case: _Case, config: UnrollConfig, ticket: Ticket | None = None) -> Phi:
    segment, _ = rollout(case.rule, config, ticket or case.ticket, case.state, case.phi)
    return meta_gradient(case.rule, case.phi, [segment])[0]


def _cosines(case: _Case, config: UnrollConfig, exact: Phi) -> float:
    """Median over draws of the coordinates; everything else of the window is the same."""
    if config.sampling == "all":
        return cosine(_rtg(case, config), exact)
    full, _ = rollout(case.rule, replace(config, sampling="all"), case.ticket, case.state, case.phi)
    drawn = [redrawn(case.rule, case.phi, full, config.coords_per_row, draw) for draw in range(COSINE_DRAWS)]
    values = [cosine(grads, exact) for grads in drawn]
    return statistics.median(values)


def meta_gradient_rows() -> list[Row]:
    """Inner steps per second including the meta-gradient, U = 20, K = 1, and the cosine to the exact gradient."""
    return [row for case in _cases() for row in _meta_gradient_rows(case)]


def _autograd(case: _Case, second_order: bool) -> Phi:
    return bptt(case.rule, UnrollConfig(steps=STEPS), case.ticket, case.state, case.phi, second_order)[0]


def _meta_gradient_rows(case: _Case) -> list[Row]:
    configs = {
        f"rtg {credit.replace('_', ' ')} {percent} %": _config(case, credit, percent)
        for credit in ("first_order", "exact")
        for percent in (100, 10)
    }
    rivals = {"autograd first order": partial(_autograd, case, False), "autograd exact": partial(_autograd, case, True)}
    seconds = interleaved({**rivals, **{name: partial(_rtg, case, config) for name, config in configs.items()}})
    exact = _autograd(case, True)
    cosines = {name: cosine(rival(), exact) for name, rival in rivals.items()}
    cosines |= {name: _cosines(case, config, exact) for name, config in configs.items()}
    rows = []
    for name, second in seconds.items():
        rival = "autograd exact" if "exact" in name else "autograd first order"
        ratio, against = (None, None) if name in rivals else (seconds[rival] / second, rival)
        rows.append(Row(f"{case.label}: {name}", STEPS / second, "inner steps/s", ratio, against))
        rows.append(Row(f"{case.label}: {name}, cosine to exact at step {AT_STEP}", cosines[name], "cosine"))
    return rows


def gap_rows() -> list[Row]:
    """Cosine to exact credit's meta-gradient, float64, all coordinates: what first order and curvature credit leave out."""
    rows = []
    for label, rule, phi, data in _rules():
        double = {name: value.double() for name, value in phi.items()}
        for at_step in GAP_STEPS:
            stands = [_stand(label, rule, double, data, at_step, seed, "float64") for seed in range(GAP_SEEDS)]
            for steps in GAP_UNROLLS:
                found = [_gap(case, steps) for case in stands]
                for credit in LEFT_OUT:
                    cosines = [one[credit] for one in found]
                    name = f"{label}: {credit.replace('_', ' ')}, U = {steps}, step {at_step}"
                    rows.append(Row(f"{name}, median of {GAP_SEEDS} seeds", statistics.median(cosines), "cosine"))
                    rows.append(Row(f"{name}, lowest", min(cosines), "cosine"))
    return rows


def _gap(case: _Case, steps: int) -> dict[str, float]:
    def gradient(credit: str) -> Phi:
        return _rtg(case, UnrollConfig(steps=steps, credit=credit, dtype="float64"))

    exact = gradient("exact")
    return {credit: cosine(gradient(credit), exact) for credit in LEFT_OUT}


def segment_rows() -> list[Row]:
    """Bytes of a segment as it crosses a process (K = 1, U = 20), and how many a learner takes in per second."""
    return [row for case in _cases() for row in _segment_rows(case)]


def _take(case: _Case, batch: pa.RecordBatch) -> object:
    """What a learner does with a segment on arrival: read, validate, differentiate, update."""
    return learner_step(case.rule, LearnerConfig(), fresh_learner(case.phi), [store.from_batch(batch)])


def _segment_rows(case: _Case) -> list[Row]:
    rows: list[Row] = []
    sizes: dict[int, float] = {}
    for percent in (100, 10):
        segment, _ = rollout(case.rule, _config(case, "first_order", percent), case.ticket, case.state, case.phi)
        sizes[percent] = float(store.segment_bytes(segment))
        second = interleaved({"take": partial(_take, case, store.to_batch(segment))})["take"]
        ratio, against = (None, None) if percent == 100 else (sizes[100] / sizes[10], "100 % of the coordinates")
        rows.append(Row(f"{case.label}: segment at {percent} %", sizes[percent], "bytes", ratio, against))
        rows.append(Row(f"{case.label}: learner at {percent} %", 1 / second, "segments/s"))
    return rows
