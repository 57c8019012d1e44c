"""A validation at a round boundary and what follows from it, as pure functions; only the scoring takes time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from rayl2o.meta.curriculum import Decision, judge, rebase
from rayl2o.meta.learner import candidate, restarted
from rayl2o.meta.training import TrainConfig, TrainState
from rayl2o.rules.base import Phi, Rule
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.base import TaskFamily
from rayl2o.unroll.closed_loop import closed_loop

Pmap = Callable[..., Iterable[Any]]
"""An ordered map: ``map`` itself, or one that spreads the calls over processes."""


def validation_due(config: TrainConfig, state: TrainState) -> bool:
    """Whether this round boundary has a validation."""
    curriculum = config.curriculum
    return curriculum.validates and not state.curriculum.finished and state.curriculum.pending >= curriculum.period


def validation_score(rule: Rule, family: TaskFamily, config: TrainConfig, phi: Phi, horizon: int) -> float:
    """Mean over fixed fresh instances of the loss over ``horizon`` steps; the same tasks, starts and minibatches every time.

    ``curriculum.score`` says which loss: ``mean`` over the horizon, which is what is compared in the end and is less noisy, or
    ``final``, that of the last minibatch only (paper-facts 2.1). The published code draws fresh instances for every validation.
    """
    count = config.curriculum.instances
    draws = generator(config.seed, "validation-task")
    specs = [family.sample(draws) for _ in range(count)]
    task = family.build(specs, config.unroll.device, config.unroll.torch_dtype)
    curves = closed_loop(
        rule,
        phi,
        task,
        [derive_seed(config.seed, "validation-init", k) for k in range(count)],
        lambda step: [derive_seed(config.seed, "validation-batch", k, step) for k in range(count)],
        horizon,
        config.unroll.loss_cap,
    )
    losses = curves.loss[:, -1] if config.curriculum.scores == "final" else curves.loss
    return float(losses.double().mean())


def settle(config: TrainConfig, state: TrainState, score: float) -> tuple[TrainState, Decision, int | None]:
    """The consequences of a validation's score: best phi kept, stage advanced, or training ended.

    Restoring the best phi replaces the newest version (the boundary belongs to the round just completed). Live trajectories
    finish with their ticket's horizon; Adam's moments are kept. Where an average of phi is kept, it was what was scored: it is
    the best phi that is remembered and restored, and a new average begins there.

    Returns:
        The new state, what was decided, and after ADVANCE the horizon with which the best phi (now the newest) must be scored
        again, for :func:`rebaseline`; else None.
    """
    scores = (*state.scores, (state.round, state.curriculum.stage, score))
    curriculum, decision = judge(config.curriculum, state.curriculum, score)
    state = replace(state, curriculum=curriculum, scores=scores)
    if decision is Decision.KEEP:
        return replace(state, best=candidate(state.learner)), decision, None
    if decision is Decision.CONTINUE:
        return state, decision, None
    learner = restarted(state.learner, state.best)
    state = replace(state, learner=learner, history={**state.history, state.round: state.best})
    again = config.curriculum.valid_horizon(curriculum.stage) if decision is Decision.ADVANCE else None
    return state, decision, again


def rebaseline(state: TrainState, score: float) -> TrainState:
    """Takes the score of the restored phi at the new stage's horizon as that stage's baseline."""
    return replace(state, curriculum=rebase(state.curriculum, score))


def validate(
    rule: Rule, family: TaskFamily, config: TrainConfig, state: TrainState, pmap: Pmap = map
) -> tuple[TrainState, Decision]:
    """A validation at a round boundary and its consequences: scoring, :func:`settle`, and scoring again where a stage begins."""
    score_of = partial(validation_score, rule, family, config)
    (score,) = pmap(score_of, [candidate(state.learner)], [config.curriculum.valid_horizon(state.curriculum.stage)])
    state, decision, again = settle(config, state, score)
    if again is not None:
        (baseline,) = pmap(score_of, [candidate(state.learner)], [again])
        state = rebaseline(state, baseline)
    return state, decision
