"""A run's folder on disk: config, metrics, checkpoints, log, rule. Functions of a path, the same for every runtime.

A checkpoint does not know who made it: a run goes on in another runtime than the one that began it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from rayl2o import __version__, checkpoint
from rayl2o.config import RunConfig, dump, load_text
from rayl2o.errors import UserError
from rayl2o.meta import replay_files, snapshot
from rayl2o.meta.rounds import TrainState, result
from rayl2o.meta.training import SEGMENTS_OF
from rayl2o.rules.files import LoadedRule, load_rule, save_rule
from rayl2o.trajectory import store
from rayl2o.unroll.segment import Segment
from rayl2o.unroll.ticket import SlotState, Ticket

CONFIG, METRICS, CHECKPOINTS, SEGMENTS, REPLAY, LOG, RULE = (
    "config.yaml", "metrics.parquet", "checkpoints", "segments", "replay", "log.txt", "rule",
)  # fmt: skip

_log = logging.getLogger(__name__)


def begin(out: Path, config: RunConfig) -> None:
    """Makes the folder of a new run and writes its config.

    Raises:
        UserError: If the folder holds a run already or cannot be written, or if settings contradict each other.
    """
    check(config)
    if (out / CONFIG).exists() or (out / CHECKPOINTS).exists():
        raise UserError(
            "the folder holds a run already", value=str(out), mend="give another --out, or use train --resume"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError("the run's folder cannot be made", value=str(out), mend=str(error)) from error
    checkpoint.replace_file(out / CONFIG, lambda file: file.write(dump(config).encode()))


def check(config: RunConfig) -> None:
    """Raises UserError if what is to be written will never be there."""
    if config.output.segments and config.estimator != SEGMENTS_OF:
        raise UserError(
            f"output.segments needs segments, estimator={config.estimator} hands on gradients only",
            value="output.segments=true",
            mend=f"use estimator={SEGMENTS_OF}, or output.segments=false",
        )


def read_config(out: Path) -> RunConfig:
    """The config of a run's folder.

    Raises:
        UserError: If the folder holds no run, its config cannot be read, or settings contradict each other.
    """
    path = out / CONFIG
    if not path.is_file():
        raise UserError("the folder holds no run", value=str(out), mend="give the --out of an earlier 'rayl2o train'")
    try:
        config = load_text(path.read_text(encoding="utf-8"), str(path))
    except (UnicodeDecodeError, OSError) as error:
        raise UserError("the run's config cannot be read", value=str(path), mend=str(error)) from error
    check(config)
    return config


@contextmanager
def logged(out: Path) -> Iterator[None]:
    """What the package logs meanwhile also goes to the run's log.

    Raises:
        UserError: If the log cannot be written.
    """
    path = out / LOG
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


def has_checkpoint(out: Path) -> bool:
    """Whether there is a checkpoint, sound or not: a run killed before its first one starts again."""
    return any((out / CHECKPOINTS).glob("step-*"))


def append_segments(out: Path, round: int, segments: Sequence[Segment]) -> None:
    """Keeps the segments of a round (from 1) beside the run, as float32.

    Raises:
        UserError: If the disk refuses, or a segment holds numbers that no file may.
    """
    store.append(out / SEGMENTS, round, segments, cast=True)


def save(config: RunConfig, out: Path, state: TrainState, rows: Sequence[dict[str, float]]) -> None:
    """A checkpoint of a whole state (slots included) at a round boundary, and the metrics up to there, a row per round.

    Replayed segments are files beside the checkpoint, named in its manifest; those that no kept checkpoint names are deleted.

    Raises:
        UserError: If the disk refuses; what was there before is intact then.
    """
    tensors, dumped = snapshot.dump(state)
    meta: dict[str, Any] = {"state": dumped, "scope": scope()}
    if config.replay.uses:
        meta[REPLAY] = replay_files.write(out / REPLAY, state.replay)
    # Metrics first: a kill in between leaves rows too many, which a resume drops, never rows too few.
    table = pa.Table.from_pylist(_even(rows))
    checkpoint.replace_file(out / METRICS, lambda file: pq.write_table(table, file))
    checkpoint.save(out / CHECKPOINTS, state.round, tensors, meta, keep=config.output.keep)
    if config.replay.uses:
        replay_files.sweep(out / REPLAY, _named(out))


def load_newest(out: Path) -> tuple[TrainState, list[dict[str, float]]] | None:
    """The state of the newest valid checkpoint and the metrics up to it; None if the run has no checkpoint yet.

    Checkpoints that are passed over are logged, and so is another machine than the one that made it (results then are not
    bit-identical).

    Raises:
        UserError: If all checkpoints (with the segments that they replay) are damaged, or the metrics are.
    """
    if not has_checkpoint(out):
        return None
    newest, replayed = _newest_whole(out)
    now, then = scope(), newest.meta.get("scope")
    if then != now:
        _log.warning("not bit-identical: the run was made with %s, this is %s", then, now)
    state = snapshot.restore(newest.tensors, newest.meta.get("state", {}), replayed)
    return state, [row for row in _read_metrics(out) if row.get("round", math.inf) <= state.round]


def load_slots(out: Path, round: int) -> tuple[tuple[Ticket, SlotState | None], ...]:
    """The slots as the checkpoint of that round has them.

    Raises:
        UserError: If it is missing or damaged.
    """
    saved = checkpoint.load(out / CHECKPOINTS / f"step-{round:08d}")
    return snapshot.restore(saved.tensors, {**saved.meta.get("state", {}), "replay": None}).slots


def finish(config: RunConfig, out: Path, state: TrainState) -> str:
    """Writes the trained rule with its card; returns the sha256 of its phi."""
    if config.replay.uses:
        replay_files.sweep(out / REPLAY, _named(out))  # a run killed after its last checkpoint may have left some
    phi = result(config, state)
    save_rule(out / RULE, config.exported_rule(), phi, _card(config, state))
    return checkpoint.digest(phi)


def trained_rule(out: Path) -> LoadedRule:
    """The rule of a run: the exported one, or that of the newest valid checkpoint while it is unfinished.

    Raises:
        UserError: If the folder holds no run, no checkpoint, or damaged ones only.
    """
    if (out / f"{RULE}.json").is_file():
        return load_rule(out / f"{RULE}.json")
    config = read_config(out)
    newest = _newest(out)
    # The rule can be had without the segments that are to be replayed.
    state = snapshot.restore(newest.tensors, {**newest.meta.get("state", {}), "replay": None})
    rule = config.exported_rule()
    return LoadedRule(name=out.name, rule=rule, phi=result(config, state), kind=rule.kind, card={})


def _newest(out: Path) -> checkpoint.Checkpoint:
    newest, skipped = checkpoint.load_newest(out / CHECKPOINTS)
    for line in skipped:
        _log.warning("%s", line)
    return newest


def _newest_whole(out: Path) -> tuple[checkpoint.Checkpoint, list[Segment]]:
    """The newest valid checkpoint whose replayed segments are sound, too, and these."""
    reasons: list[str] = []
    for saved in _newest_first(out, reasons):
        try:
            return saved, replay_files.read(out / REPLAY, saved.meta.get(REPLAY, []))
        except UserError as error:
            _skip(saved.path, error, reasons)
    raise UserError(f"no valid checkpoint: {'; '.join(reasons)}", value=str(out / CHECKPOINTS), mend="train again")


def _newest_first(out: Path, reasons: list[str]) -> Iterator[checkpoint.Checkpoint]:
    """Valid checkpoints, read one by one; why others are passed over goes to the log and to ``reasons``."""
    newest = _newest(out)
    yield newest
    for path in _steps(out):
        if _step(path) < newest.step:
            try:
                saved = checkpoint.load(path)
            except UserError as error:
                _skip(path, error, reasons)
            else:
                yield saved


def _skip(path: Path, error: UserError, reasons: list[str]) -> None:
    reasons.append(f"skipped checkpoint {path.name}: {error}")
    _log.warning("%s", reasons[-1])


def _steps(out: Path) -> list[Path]:
    """Folders of finished checkpoints, newest first."""
    found = [path for path in (out / CHECKPOINTS).glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _named(out: Path) -> set[str]:
    """Files of replayed segments that some checkpoint names; one that cannot be read can name none."""
    named: set[str] = set()
    for path in _steps(out):
        try:
            manifest = checkpoint.parse_json((path / checkpoint.MANIFEST).read_bytes())
            named |= set(manifest["meta"].get(REPLAY, []))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return named


def _card(config: RunConfig, state: TrainState) -> dict[str, Any]:
    return {
        "task": config.task.name,
        "task_settings": config.task.settings,
        "horizon": config.curriculum.longest,
        "updates": state.round,
        "inner_steps": state.inner_steps,
        "seed": config.seed,
        "known_failures": "tested on small classifiers only; see the report of the run",
    }


def _even(rows: Sequence[dict[str, float]]) -> list[dict[str, float | None]]:
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
