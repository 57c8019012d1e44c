"""The round loop as pure functions: plan, roll out, absorb, judge. A runtime only supplies an ordered map for the jobs.

A round is one segment from every slot, then the learner's updates. Version = rounds completed; round r (from 1) acts with version
``max(0, r - 1 - lag)``. Nothing depends on who runs a job or when, so inline and distributed runs end with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from rayl2o.errors import UserError
from rayl2o.meta.behaviour import BehaviourConfig, plan_behaviour
from rayl2o.meta.curriculum import (
    CurriculumConfig,
    CurriculumState,
    Decision,
    equal_stage,
    judge,
    rebase,
)
from rayl2o.meta.learner import LearnerConfig, LearnerState, fresh_learner, learner_step
from rayl2o.rules.base import Phi, Rule
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.base import TaskFamily
from rayl2o.unroll.closed_loop import closed_loop
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import OK, Segment
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket

Pmap = Callable[..., Iterable[Any]]
"""An ordered map: ``map`` itself, or one that spreads the calls over processes."""


@dataclass(frozen=True)
class TrainConfig:
    """One meta-training.

    Attributes:
        seed: Every draw of the run derives from it.
        updates: Rounds at most; a curriculum may end earlier.
        slots: Slots, each with its own trajectory.
        instances: K, instances side by side in a slot.
        lag: 0 is strictly on-policy; 1 lets roll-outs and learning overlap.
        unroll, learner, curriculum, behaviour: See each.
    """

    seed: int = 0
    updates: int = 1000
    slots: int = 1
    instances: int = 1
    lag: int = 0
    unroll: UnrollConfig = field(default_factory=UnrollConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    behaviour: BehaviourConfig = field(default_factory=BehaviourConfig)

    def __post_init__(self) -> None:
        for name in ("updates", "slots", "instances"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1", value=getattr(self, name), mend="give a positive number")
        if self.lag not in (0, 1):
            raise UserError(
                "lag must be 0 or 1", value=self.lag, mend="0 is on-policy, 1 overlaps roll-out and learning"
            )
        odd = [n for n in self.curriculum.n_train if n % self.unroll.steps]
        if odd:
            raise UserError(
                f"horizons must be multiples of unroll.steps={self.unroll.steps}", value=odd, mend="change either"
            )


@dataclass(frozen=True)
class Job:
    """One roll-out: what a worker is handed besides phi."""

    ticket: Ticket
    slot_state: SlotState | None
    version: int


@dataclass(frozen=True)
class TrainState:
    """Everything that a run needs to go on.

    Attributes:
        learner, curriculum: See each.
        best: Phi of the best validation of this stage (or of the last stage that brought something).
        slots: Per slot, the live ticket and its state (None before its first segment).
        history: Phi by version, as far back as the next round may act with it.
        round: Rounds completed; also the version of the newest phi.
        inner_steps: Inner steps made, all instances.
        scores: Validation scores so far as (round, stage, score).
    """

    learner: LearnerState
    curriculum: CurriculumState
    best: Phi
    slots: tuple[tuple[Ticket, SlotState | None], ...]
    history: dict[int, Phi]
    round: int = 0
    inner_steps: int = 0
    scores: tuple[tuple[int, int, float], ...] = ()


def fresh_state(rule: Rule, family: TaskFamily, config: TrainConfig, run_id: str) -> TrainState:
    """The state before the first round."""
    phi = rule.init_phi(generator(config.seed, "phi"), dtype=config.unroll.torch_dtype)
    if not phi:
        raise UserError("only a rule with weights can be trained", value=rule.kind, mend="use e.g. rnnprop or dm")
    curriculum = CurriculumState()
    slots = tuple((make_ticket(family, config, run_id, slot, 0, 0), None) for slot in range(config.slots))
    return TrainState(fresh_learner(phi), curriculum, phi, slots, {0: phi})


def make_ticket(family: TaskFamily, config: TrainConfig, run_id: str, slot: int, ordinal: int, stage: int) -> Ticket:
    """The ticket of a slot's next trajectory; determined by its arguments."""
    draws = generator(config.seed, "task", slot, ordinal)
    specs = tuple(family.sample(draws) for _ in range(config.instances))
    behaviour, teachers, share = plan_behaviour(config.behaviour, config.seed, slot, ordinal, config.slots, stage)
    n_train = config.curriculum.n_train[stage]
    return Ticket(run_id, config.seed, slot, ordinal, specs, n_train, behaviour, teachers, share)


def plan_round(family: TaskFamily, config: TrainConfig, state: TrainState) -> tuple[TrainState, list[Job], Phi]:
    """The jobs of the next round, in slot order, and the phi that acts.

    A slot whose trajectory is over gets its next ticket here, so that a curriculum's decision at the boundary holds for it.
    """
    stage = stage_of(config, state)
    slots = tuple(
        (make_ticket(family, config, ticket.run_id, ticket.slot, ticket.ordinal + 1, stage), None)
        if slot_state is not None and slot_state.finished(ticket)
        else (ticket, slot_state)
        for ticket, slot_state in state.slots
    )
    version = max(0, state.round - config.lag)
    jobs = [Job(ticket, slot_state, version) for ticket, slot_state in slots]
    return replace(state, slots=slots), jobs, state.history[version]


def perform(rule: Rule, config: UnrollConfig, phi: Phi, job: Job) -> tuple[Segment, SlotState]:
    """One job, anywhere."""
    return rollout(rule, config, job.ticket, job.slot_state, phi, job.version)


def absorb(
    rule: Rule, config: TrainConfig, state: TrainState, results: Sequence[tuple[Segment, SlotState]]
) -> tuple[TrainState, dict[str, float]]:
    """The learner's updates of a round, and the slots' new states."""
    segments = [segment for segment, _ in results]
    learner, metrics = learner_step(rule, config.learner, state.learner, segments)
    slots = tuple((ticket, after) for (ticket, _), (_, after) in zip(state.slots, results, strict=True))
    done = sum(after.finished(ticket) for ticket, after in slots)
    curriculum = replace(state.curriculum, pending=state.curriculum.pending + done)
    inner_steps = state.inner_steps + sum(int(s.valid.sum()) for s in segments)
    metrics |= {
        "loss": _mean_loss(segments),
        "stage": float(stage_of(config, state)),
        "diverged": float(sum(status != OK for s in segments for status in s.status)),
        "inner_steps": float(inner_steps),
        "skipped": float(learner.skipped),
    }
    state = replace(state, slots=slots, curriculum=curriculum, inner_steps=inner_steps)
    return _versioned(config, state, learner), metrics


def stage_of(config: TrainConfig, state: TrainState) -> int:
    """Curriculum stage of the next round."""
    if config.curriculum.kind == "equal":
        return equal_stage(config.curriculum, state.round, config.updates)
    return state.curriculum.stage


def _mean_loss(segments: Sequence[Segment]) -> float:
    """Mean loss over the steps that count, all segments."""
    total, count = 0.0, 0
    for s in segments:
        counted = torch.arange(s.loss.shape[1])[None] <= s.valid[:, None]
        counted &= torch.isfinite(s.loss)
        total += float(s.loss[counted].double().sum())
        count += int(counted.sum())
    return total / max(count, 1)


def _versioned(config: TrainConfig, state: TrainState, learner: LearnerState) -> TrainState:
    """Completes a round: a new version of phi, history trimmed to what ``lag`` can ask for."""
    version = state.round + 1
    history = {**state.history, version: learner.phi}
    kept = {v: phi for v, phi in history.items() if v >= version - config.lag}
    return replace(state, learner=learner, history=kept, round=version)


def validation_due(config: TrainConfig, state: TrainState) -> bool:
    """Whether this round boundary has a validation."""
    algorithm1 = config.curriculum.kind == "algorithm1"
    return algorithm1 and not state.curriculum.finished and state.curriculum.pending >= config.curriculum.period


def validation_score(rule: Rule, family: TaskFamily, config: TrainConfig, phi: Phi, horizon: int) -> float:
    """Mean loss over ``horizon`` steps and over fixed fresh instances; the same tasks, starts and minibatches every time.

    The published code scores the last minibatch only (paper-facts 2.1); the mean over the horizon is what is compared in the end
    and is less noisy.
    """
    count = config.curriculum.instances
    draws = generator(config.seed, "validation-task")
    task = family.build([family.sample(draws) for _ in range(count)], dtype=config.unroll.torch_dtype)
    curves = closed_loop(
        rule,
        phi,
        task,
        [derive_seed(config.seed, "validation-init", k) for k in range(count)],
        lambda step: [derive_seed(config.seed, "validation-batch", k, step) for k in range(count)],
        horizon,
        config.unroll.loss_cap,
    )
    return float(curves.loss.double().mean())


def validate(
    rule: Rule, family: TaskFamily, config: TrainConfig, state: TrainState, pmap: Pmap = map
) -> tuple[TrainState, Decision]:
    """A validation at a round boundary and its consequences: best phi kept, stage advanced, or training ended.

    Restoring the best phi replaces the newest version (the boundary belongs to the round just completed). Live trajectories
    finish with their ticket's horizon; Adam's moments are kept.
    """
    score_of = partial(validation_score, rule, family, config)
    horizon = config.curriculum.valid_horizon(state.curriculum.stage)
    (score,) = pmap(score_of, [state.learner.phi], [horizon])
    scores = (*state.scores, (state.round, state.curriculum.stage, score))
    curriculum, decision = judge(config.curriculum, state.curriculum, score)
    state = replace(state, curriculum=curriculum, scores=scores)
    if decision is Decision.KEEP:
        return replace(state, best=state.learner.phi), decision
    if decision is Decision.CONTINUE:
        return state, decision
    learner = replace(state.learner, phi=state.best, anchor=state.best)
    state = replace(state, learner=learner, history={**state.history, state.round: state.best})
    if decision is Decision.ADVANCE:
        horizon = config.curriculum.valid_horizon(curriculum.stage)
        (baseline,) = pmap(score_of, [state.best], [horizon])
        state = replace(state, curriculum=rebase(curriculum, baseline))
    return state, decision


def finished(config: TrainConfig, state: TrainState) -> bool:
    """Whether the run is over."""
    return state.curriculum.finished or state.round >= config.updates


def run_round(
    rule: Rule, family: TaskFamily, config: TrainConfig, state: TrainState, pmap: Pmap = map
) -> tuple[TrainState, dict[str, float]]:
    """One round from plan to judgement.

    Args:
        rule, family, config: What is trained on what, how.
        state: Where the run stands.
        pmap: Ordered map over the jobs.

    Returns:
        The state at the round boundary and its metrics: ``loss`` (mean over the counted steps), ``grad_norm``,
        ``imitation_loss``, ``stage``, ``diverged``, ``inner_steps``, ``skipped``, and ``score`` where there was a validation.
    """
    state, jobs, phi = plan_round(family, config, state)
    results = list(pmap(partial(perform, rule, config.unroll, phi), jobs))
    state, metrics = absorb(rule, config, state, results)
    if validation_due(config, state):
        state, _ = validate(rule, family, config, state, pmap)
        metrics["score"] = state.scores[-1][2]
    return state, metrics


def result(config: TrainConfig, state: TrainState) -> Phi:
    """The phi to ship: the curriculum's best where there was a validation, else the newest."""
    scored = config.curriculum.kind == "algorithm1" and bool(state.scores)
    return state.best if scored else state.learner.phi
