"""A run on disk: config, metrics, checkpoints, segments, rule. Killed anywhere and resumed, it ends with the same bytes."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from rayl2o import __version__, checkpoint
from rayl2o.config import RunConfig, dump, load_text
from rayl2o.errors import UserError
from rayl2o.meta.rounds import (
    TrainState,
    absorb,
    finished,
    fresh_state,
    perform,
    plan_round,
    result,
    validate,
    validation_due,
)
from rayl2o.meta.snapshot import dump as dump_state
from rayl2o.meta.snapshot import restore
from rayl2o.rules.files import LoadedRule, load_rule, save_rule
from rayl2o.trajectory import store

CONFIG, METRICS, CHECKPOINTS, SEGMENTS, LOG, RULE = (
    "config.yaml", "metrics.parquet", "checkpoints", "segments", "log.txt", "rule",
)  # fmt: skip

OnRound = Callable[[RunConfig, TrainState, dict[str, float]], None]
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
    if (out / CONFIG).exists() or (out / CHECKPOINTS).exists():
        raise UserError(
            "the folder holds a run already", value=str(out), mend="give another --out, or use train --resume"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError("the run's folder cannot be made", value=str(out), mend=str(error)) from error
    checkpoint.replace_file(out / CONFIG, lambda file: file.write(dump(config).encode()))
    with _logged(out / LOG):
        state = fresh_state(config.make_rule(), config.make_family(), config, out.name)
        return _loop(config, out, state, [], on_round)


def resume(out: Path, on_round: OnRound | None = None) -> TrainResult:
    """Goes on from the newest valid checkpoint; a run killed before its first one starts again.

    Raises:
        UserError: If the folder holds no run, or its checkpoints are all damaged.
    """
    config = read_config(out)
    with _logged(out / LOG):
        if not any((out / CHECKPOINTS).glob("step-*")):
            state = fresh_state(config.make_rule(), config.make_family(), config, out.name)
            return _loop(config, out, state, [], on_round)
        newest = _newest(out)
        now, then = scope(), newest.meta.get("scope")
        if then != now:
            _log.warning("not bit-identical: the run was made with %s, this is %s", then, now)
        state = _state(newest)
        rows = [row for row in _read_metrics(out) if row.get("round", math.inf) <= state.round]
        return _loop(config, out, state, rows, on_round)


def read_config(out: Path) -> RunConfig:
    """The config of a run's folder."""
    path = out / CONFIG
    if not path.is_file():
        raise UserError("the folder holds no run", value=str(out), mend="give the --out of an earlier 'rayl2o train'")
    try:
        return load_text(path.read_text(encoding="utf-8"), str(path))
    except (UnicodeDecodeError, OSError) as error:
        raise UserError("the run's config cannot be read", value=str(path), mend=str(error)) from error


def trained_rule(out: Path) -> LoadedRule:
    """The rule of a run: the exported one, or that of the newest valid checkpoint while it is unfinished."""
    if (out / f"{RULE}.json").is_file():
        return load_rule(out / f"{RULE}.json")
    config = read_config(out)
    state = _state(_newest(out))
    rule = config.make_rule()
    return LoadedRule(name=out.name, rule=rule, phi=result(config, state), kind=rule.kind, card={})


def _newest(out: Path) -> checkpoint.Checkpoint:
    newest, skipped = checkpoint.load_newest(out / CHECKPOINTS)
    for line in skipped:
        _log.warning("%s", line)
    return newest


def _loop(
    config: RunConfig, out: Path, state: TrainState, rows: list[dict[str, float]], on_round: OnRound | None
) -> TrainResult:
    """Rounds until the end, in one process."""
    _log.info("%s on %s from round %d of %d", config.rule.kind, config.task.name, state.round, config.updates)
    outcome = _rounds(config, out, state, rows, on_round)
    _log.info("%s after round %d, phi %s", outcome.status, outcome.updates, outcome.phi_sha256)
    return outcome


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """What the package logs meanwhile also goes to a file."""
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UserError("the run's log cannot be written", value=str(path), mend=str(error)) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    package = logging.getLogger("rayl2o")
    level = package.level
    package.addHandler(handler)
    package.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        yield
    finally:
        package.setLevel(level)
        package.removeHandler(handler)
        handler.close()


def _rounds(
    config: RunConfig, out: Path, state: TrainState, rows: list[dict[str, float]], on_round: OnRound | None
) -> TrainResult:
    """The same functions in the same order as any other runtime."""
    rule, family = config.make_rule(), config.make_family()
    begun, steps_before = time.perf_counter(), state.inner_steps
    while not finished(config, state):
        state, jobs, phi = plan_round(family, config, state)
        results = [perform(rule, config.unroll, phi, job) for job in jobs]
        if config.output.segments:
            store.append(out / SEGMENTS, state.round, [segment for segment, _ in results], cast=True)
        state, metrics = absorb(rule, config, state, results)
        if validation_due(config, state):
            state, decision = validate(rule, family, config, state)
            metrics["score"] = state.scores[-1][2]
            _log.info("round %d: validation %.4f, %s", state.round, metrics["score"], decision.value)
        rows.append({"round": float(state.round), "seconds": time.perf_counter() - begun, **metrics})
        if on_round is not None:
            on_round(config, state, metrics)
        if state.round % config.output.checkpoint_every == 0 or finished(config, state):
            _save(config, out, state, rows)
    seconds = time.perf_counter() - begun
    phi = result(config, state)
    save_rule(out / RULE, rule, phi, _card(config, state))
    return TrainResult(
        run=out,
        updates=state.round,
        phi_sha256=checkpoint.digest(phi),
        inner_steps_per_s=(state.inner_steps - steps_before) / max(seconds, 1e-9),
        status="converged" if state.curriculum.finished else "finished",
    )


def _save(config: RunConfig, out: Path, state: TrainState, rows: list[dict[str, float]]) -> None:
    tensors, meta = dump_state(state)
    # Metrics first: a kill in between leaves rows too many, which a resume drops, never rows too few.
    table = pa.Table.from_pylist(_even(rows))
    checkpoint.replace_file(out / METRICS, lambda file: pq.write_table(table, file))
    meta = {"state": meta, "scope": scope()}
    checkpoint.save(out / CHECKPOINTS, state.round, tensors, meta, keep=config.output.keep)


def _state(saved: checkpoint.Checkpoint) -> TrainState:
    return restore(saved.tensors, saved.meta.get("state", {}))


def scope() -> dict[str, Any]:
    """What must be equal for bit-identical results; elsewhere a run is repeatable, not bit-identical."""
    return {
        "rayl2o": __version__,
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "flush_denormals": float(torch.tensor(1e-40) * 1) == 0.0,
        "compile": False,
    }


def _card(config: RunConfig, state: TrainState) -> dict[str, Any]:
    return {
        "task": config.task.name,
        "task_settings": config.task.settings,
        "horizon": max(config.curriculum.n_train),
        "updates": state.round,
        "inner_steps": state.inner_steps,
        "seed": config.seed,
        "known_failures": "tested on small classifiers only; see the report of the run",
    }


def _even(rows: list[dict[str, float]]) -> list[dict[str, float | None]]:
    """Every row with every column, so that the first row does not decide which there are."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in names} for row in rows]


def _read_metrics(out: Path) -> list[dict[str, float]]:
    path = out / METRICS
    if not path.is_file():
        return []
    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            "the run's metrics cannot be read", value=str(path), mend="delete the file to go on without"
        ) from error
    return [{name: value for name, value in row.items() if value is not None} for row in rows]
