"""The round loop as pure functions: plan, roll out, learn, judge. A runtime only says who runs a job, and where.

A round is one segment from every slot, then the learner's updates. Version = rounds completed; round r (from 1) acts with version
``max(0, r - 1 - lag)``. Nothing depends on who runs a job or when, so inline and distributed runs end with the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from rayl2o.errors import UserError
from rayl2o.meta.behaviour import plan_behaviour
from rayl2o.meta.curriculum import CurriculumState, continuous_horizon, equal_stage, reached_stage
from rayl2o.meta.estimators import perform
from rayl2o.meta.gradient import Contribution, Gradient, diverged, mean_loss, tally
from rayl2o.meta.learner import LearnerState, candidate, fresh_learner, gradient_step, learner_step
from rayl2o.meta.placement import placed, usable
from rayl2o.meta.replay import ReplayState, draws, sample, take
from rayl2o.meta.schedule import plan_horizon
from rayl2o.meta.training import Job, TrainConfig, TrainState
from rayl2o.meta.validation import Pmap, rebaseline, settle, validate, validation_due, validation_score
from rayl2o.rules.base import Phi, Rule
from rayl2o.seeds import generator
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.draw import sample_alike
from rayl2o.unroll.segment import MIX, Segment
from rayl2o.unroll.ticket import SlotState, Ticket

__all__ = [
    "Contribution",
    "Job",
    "Pmap",
    "TrainConfig",
    "TrainState",
    "absorb",
    "acting_version",
    "finished",
    "fresh_state",
    "learn",
    "make_ticket",
    "next_ticket",
    "perform",
    "plan_round",
    "rebaseline",
    "result",
    "run_round",
    "settle",
    "stage_of",
    "validate",
    "validation_due",
    "validation_score",
]


def fresh_state(rule: Rule, family: TaskFamily, config: TrainConfig, run_id: str) -> TrainState:
    """The state before the first round."""
    phi = rule.init_phi(generator(config.seed, "phi"), dtype=config.unroll.torch_dtype)
    phi = placed(phi, usable(config.unroll.device))
    if not phi:
        raise UserError("only a rule with weights can be trained", value=rule.kind, mend="use e.g. rnnprop or dm")
    curriculum = CurriculumState()
    slots = tuple((make_ticket(family, config, run_id, slot, 0, 0), None) for slot in range(config.slots))
    return TrainState(fresh_learner(phi), curriculum, phi, slots, {0: phi})


def make_ticket(family: TaskFamily, config: TrainConfig, run_id: str, slot: int, ordinal: int, stage: int) -> Ticket:
    """The ticket of a slot's next trajectory; determined by its arguments."""
    draws = generator(config.seed, "task", slot, ordinal)
    specs = sample_alike(family, draws, config.instances)
    n_train, stage = plan_horizon(config, slot, ordinal, stage)
    behaviour, teachers, share = plan_behaviour(config.behaviour, config.seed, slot, ordinal, config.slots, stage)
    weights = config.behaviour.weights if behaviour == MIX else ()
    return Ticket(run_id, config.seed, slot, ordinal, specs, n_train, behaviour, teachers, share, weights)


def next_ticket(family: TaskFamily, config: TrainConfig, ticket: Ticket, stage: int) -> Ticket:
    """The ticket that follows one whose trajectory is over, with the stage of the round in which it begins."""
    return make_ticket(family, config, ticket.run_id, ticket.slot, ticket.ordinal + 1, stage)


def acting_version(config: TrainConfig, round: int) -> int:
    """Version of phi that acts in a round (from 1)."""
    return max(0, round - 1 - config.lag)


def plan_round(family: TaskFamily, config: TrainConfig, state: TrainState) -> tuple[TrainState, list[Job], Phi]:
    """The jobs of the next round, in slot order, and the phi that acts.

    A slot whose trajectory is over gets its next ticket here, so that a curriculum's decision at the boundary holds for it.
    """
    stage = stage_of(config, state)
    slots = tuple(
        (next_ticket(family, config, ticket, stage), None)
        if slot_state is not None and slot_state.finished(ticket)
        else (ticket, slot_state)
        for ticket, slot_state in state.slots
    )
    version = acting_version(config, state.round + 1)
    jobs = [Job(ticket, slot_state, version) for ticket, slot_state in slots]
    return replace(state, slots=slots), jobs, state.history[version]


def learn(
    rule: Rule, config: TrainConfig, state: TrainState, contributions: Sequence[Contribution], done: int
) -> tuple[TrainState, dict[str, float]]:
    """The learner's part of a round: updates of phi, counters, the next version. ``state.slots`` is neither read nor changed.

    Args:
        rule, config: What is trained, how.
        state: Where the run stands.
        contributions: What the roll-outs brought, in any order.
        done: Trajectories that ended in this round.

    Returns:
        The state with one more version and round, and metrics as :func:`run_round` lists them.
    """
    segments = [one for one in contributions if isinstance(one, Segment)]
    gradients = [one for one in contributions if isinstance(one, Gradient)]
    learner, metrics = learner_step(rule, config.learner, state.learner, segments)
    learner, more = gradient_step(config.learner, learner, gradients)
    metrics |= more
    replay = state.replay
    if config.replay.uses:
        learner, replay, more = _replay(rule, config, state, learner, segments)
        metrics |= more
    curriculum = replace(state.curriculum, pending=state.curriculum.pending + done)
    tallies = [tally(one) for one in contributions]
    inner_steps = state.inner_steps + sum(one.steps for one in tallies)
    metrics |= {
        "loss": mean_loss(tallies),
        "stage": float(stage_of(config, state)),
        "diverged": float(diverged(tallies)),
        "inner_steps": float(inner_steps),
        "skipped": float(learner.skipped),
    }
    state = replace(state, curriculum=curriculum, inner_steps=inner_steps, replay=replay)
    return _versioned(config, state, learner), metrics


def _replay(
    rule: Rule, config: TrainConfig, state: TrainState, learner: LearnerState, segments: Sequence[Segment]
) -> tuple[LearnerState, ReplayState, dict[str, float]]:
    """The replay updates of a round, from what earlier rounds left; then this round's segments are kept."""
    replay, used = state.replay, 0
    for i in range(config.replay.updates):
        count = config.replay.batch or config.slots
        again, replay = sample(config.replay, replay, state.round, count, draws(config.seed, state.round + 1, i))
        learner, _ = learner_step(rule, config.learner, learner, again)
        used += len(again)
    replay = take(config.replay, replay, segments, state.round + 1)
    return learner, replay, {"replayed": float(used), "replay_size": float(len(replay.entries))}


def absorb(
    rule: Rule, config: TrainConfig, state: TrainState, results: Sequence[tuple[Contribution, SlotState]]
) -> tuple[TrainState, dict[str, float]]:
    """:func:`learn` from the results of all slots, in slot order, and the slots' new states."""
    slots = tuple((ticket, after) for (ticket, _), (_, after) in zip(state.slots, results, strict=True))
    done = sum(after.finished(ticket) for ticket, after in slots)
    state, metrics = learn(rule, config, state, [contribution for contribution, _ in results], done)
    return replace(state, slots=slots), metrics


def stage_of(config: TrainConfig, state: TrainState) -> int:
    """Curriculum stage of the next round."""
    curriculum = config.curriculum
    if curriculum.kind == "equal":
        return equal_stage(curriculum, state.round, config.updates)
    if curriculum.kind == "continuous":
        horizon = continuous_horizon(curriculum, state.round, config.updates, config.unroll.steps)
        return reached_stage(curriculum, horizon)
    return state.curriculum.stage


def _versioned(config: TrainConfig, state: TrainState, learner: LearnerState) -> TrainState:
    """Completes a round: a new version of phi, history trimmed to what ``lag`` can ask for."""
    version = state.round + 1
    history = {**state.history, version: learner.phi}
    kept = {v: phi for v, phi in history.items() if v >= version - config.lag}
    return replace(state, learner=learner, history=kept, round=version)


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
        ``imitation_loss``, ``stage``, ``diverged``, ``inner_steps``, ``skipped``, with replay ``replayed`` (segments learned from
        again) and ``replay_size``, and ``score`` where there was a validation.
    """
    state, jobs, phi = plan_round(family, config, state)
    results = list(pmap(partial(perform, rule, config, phi), jobs))
    state, metrics = absorb(rule, config, state, results)
    if validation_due(config, state):
        state, _ = validate(rule, family, config, state, pmap)
        metrics["score"] = state.scores[-1][2]
    return state, metrics


def result(config: TrainConfig, state: TrainState) -> Phi:
    """The phi to ship: the curriculum's best where there was a validation, else the newest, or its average if one is kept."""
    scored = config.curriculum.validates and bool(state.scores)
    return state.best if scored else candidate(state.learner)
