"""A run in this process, on disk. Killed anywhere and resumed, it ends with the same bytes."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayl2o.config import RunConfig
from rayl2o.folder import (
    CONFIG,
    append_segments,
    begin,
    finish,
    load_newest,
    logged,
    read_config,
    save,
    scope,
    trained_rule,
)
from rayl2o.follow.following import Following, OnRound, following
from rayl2o.meta.placement import placed, usable
from rayl2o.meta.rounds import (
    TrainState,
    absorb,
    finished,
    fresh_state,
    perform,
    plan_round,
    validate,
    validation_due,
)
from rayl2o.telemetry import Progress
from rayl2o.unroll.segment import Segment

__all__ = [
    "CONFIG",
    "OnRound",
    "TrainResult",
    "progress_of",
    "read_config",
    "resume",
    "scope",
    "status_of",
    "told",
    "train",
    "trained_rule",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        run: Its folder.
        updates: Rounds completed.
        phi_sha256: Digest of the phi that was written.
        inner_steps_per_s: Inner steps of all instances per second in this process, learning and validation included.
        status: ``finished`` (all updates), ``converged`` (the curriculum stopped it).
    """

    run: Path
    updates: int
    phi_sha256: str
    inner_steps_per_s: float
    status: str

    def to_json(self) -> dict[str, Any]:
        """The machine-readable contract of ``rayl2o train``."""
        return {
            "run": str(self.run),
            "updates": self.updates,
            "phi_sha256": self.phi_sha256,
            "inner_steps_per_s": round(self.inner_steps_per_s, 1),
            "status": self.status,
        }


def train(config: RunConfig, out: Path, on_round: OnRound | None = None) -> TrainResult:
    """Starts a run in a new folder.

    Raises:
        UserError: If the folder holds a run already, or cannot be written.
    """
    with following(out, "inline", *told(on_round)) as take:
        begin(out, config)
        take.begin()
        with logged(out):
            return _loop(config, out, _fresh(config, out), [], take)


def resume(out: Path, on_round: OnRound | None = None) -> TrainResult:
    """Goes on from the newest valid checkpoint; a run killed before its first one starts again.

    Raises:
        UserError: If the folder holds no run, or its checkpoints are all damaged.
    """
    config = read_config(out)
    with following(out, "inline", *told(on_round), resuming=True) as take, logged(out):
        state, rows = load_newest(out) or (_fresh(config, out), [])
        state = placed(state, usable(config.unroll.device))
        return _loop(config, out, state, rows, take)


def told(on_round: OnRound | None) -> tuple[OnRound, ...]:
    """Those who asked to be told of rounds."""
    return () if on_round is None else (on_round,)


def progress_of(
    config: RunConfig, state: TrainState, metrics: dict[str, float], seconds: float, steps_before: int
) -> Progress:
    """What to say at a round boundary, without workers.

    Args:
        config, state, metrics: The run, and what the round's :func:`rayl2o.meta.rounds.learn` said.
        seconds: Since this process began or resumed the run.
        steps_before: Inner steps of the run at that time.
    """
    stages, stage = config.curriculum.n_train, int(metrics["stage"])
    return Progress(
        round=state.round,
        updates=config.updates,
        stage=stage,
        stages=len(stages),
        horizon=stages[stage],
        inner_steps=state.inner_steps,
        seconds=seconds,
        inner_steps_per_s=(state.inner_steps - steps_before) / max(seconds, 1e-9),
        metrics=metrics,
    )


def status_of(state: TrainState) -> str:
    """``converged`` if the curriculum ended the run, else ``finished``."""
    return "converged" if state.curriculum.finished else "finished"


def _fresh(config: RunConfig, out: Path) -> TrainState:
    return fresh_state(config.make_rule(), config.make_family(), config, out.name)


def _loop(
    config: RunConfig, out: Path, state: TrainState, rows: list[dict[str, float]], on_round: Following
) -> TrainResult:
    """Rounds until the end, in one process: the same functions in the same order as in any other runtime."""
    _log.info("%s on %s from round %d of %d", config.rule.kind, config.task.name, state.round, config.updates)
    rule, family = config.make_rule(), config.make_family()
    begun, steps_before = time.perf_counter(), state.inner_steps
    while not finished(config, state):
        state, jobs, phi = plan_round(family, config, state)
        results = [perform(rule, config, phi, job) for job in jobs]
        if config.output.segments:
            append_segments(out, state.round + 1, [one for one, _ in results if isinstance(one, Segment)])
        state, metrics = absorb(rule, config, state, results)
        if validation_due(config, state):
            state, decision = validate(rule, family, config, state)
            metrics["score"] = state.scores[-1][2]
            _log.info("round %d: validation %.4f, %s", state.round, metrics["score"], decision.value)
        seconds = time.perf_counter() - begun
        rows.append({"round": float(state.round), "seconds": seconds, **metrics})
        on_round(progress_of(config, state, metrics, seconds, steps_before))
        if state.round % config.output.checkpoint_every == 0 or finished(config, state):
            save(config, out, state, rows)
    seconds = time.perf_counter() - begun
    sha256, status = finish(config, out, state), status_of(state)
    on_round.end(status)
    _log.info("%s after round %d, phi %s", status, state.round, sha256)
    return TrainResult(out, state.round, sha256, (state.inner_steps - steps_before) / max(seconds, 1e-9), status)
