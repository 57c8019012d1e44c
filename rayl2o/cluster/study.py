"""Runs a study: trials through Tune, a record of each, the best at the end. Killed anywhere, it goes on from the records.

Tune's own snapshots are pickles, are seconds old at best, and may be torn by a kill. A study needs none of them: every trial
that is over has a JSON record, a session of Tune is given the trials that have none, and search and scheduler are told of the
others. So nothing is ever unpickled from a folder, and no trial is finished twice.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from rayl2o.cluster.connect import connected
from rayl2o.cluster.learned_rule import learned_rule
from rayl2o.cluster.study_base import Study
from rayl2o.cluster.study_best import Best, best_of, write_best
from rayl2o.cluster.study_gate import enter, places
from rayl2o.cluster.study_gate import gate as new_gate
from rayl2o.cluster.study_records import (
    DIED,
    PRUNED,
    RESULTS,
    RUNS,
    TUNE,
    Record,
    create,
    drop,
    keep,
    load,
    records,
    write_results,
)
from rayl2o.cluster.study_search import SCORE, STEPS, StudyAsha, StudySearch
from rayl2o.cluster.study_symbolic import SymbolicStudy
from rayl2o.cluster.symbolic_fit import all_tables
from rayl2o.cluster.trials import TIMEOUT, Said, run_trial
from rayl2o.errors import UserError
from rayl2o.runtime import RoleConfig, RuntimeConfig
from rayl2o.symbolic.tables import Tables

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
_LOGGERS = ("ray.tune", "ray.train", "ray.air")
_MB = 10**6


@dataclass(frozen=True)
class StudyProgress:
    """A study after a trial has begun, reported or ended.

    Attributes:
        total, done, failed: Trials of the study, those that are over, and those of them that failed.
        running: Trials at work.
        best: Least score of a finished trial so far, by cell.
        newest: The trial that ended just now, if one did.
        doing: What is done before or after the trials, if it takes long.
    """

    total: int
    done: int
    failed: int
    running: int
    best: Mapping[str, float]
    newest: Record | None = None
    doing: str = ""


@dataclass(frozen=True)
class StudyResult:
    """How a study ended.

    Attributes:
        out, study: Its folder, and what it was.
        records: All trials.
        best: The best of every cell.
        seconds: Of this session.
    """

    out: Path
    study: Study
    records: tuple[Record, ...]
    best: tuple[Best, ...]
    seconds: float

    @property
    def failures(self) -> list[Record]:
        """Trials without a result."""
        return [one for one in self.records if one.failed]

    def to_json(self) -> dict[str, Any]:
        """The machine-readable contract of ``rayl2o tune``."""
        return {
            "study": str(self.out),
            "kind": self.study.kind,
            "trials": len(self.records),
            "errors": len(self.failures),
            "best": [one.to_json() for one in self.best],
            "results": str(self.out / RESULTS),
        }


Follow = Callable[[StudyProgress], None]
TrialFunction = Callable[..., None]


def begin(study: Study, out: Path, runtime: RuntimeConfig, follow: Follow | None = None) -> StudyResult:
    """Starts a study in a new folder.

    Args:
        study: What is tried.
        out: Folder; on a cluster of several machines on storage that they share.
        runtime: Where trials run; ``workers`` is how many at once, 0 for as many as fit.
        follow: Told of the progress.

    Raises:
        UserError: If the study cannot work (a task without its data, a missing package, too few CPUs), the folder holds one
            already, or every trial failed (after the results are written).
        KeyboardInterrupt: On Ctrl-C, once the trials at work are stopped.
    """
    study.check()
    return run(create(study, out.absolute()), out.absolute(), runtime, follow)


def resume(out: Path, runtime: RuntimeConfig, follow: Follow | None = None) -> StudyResult:
    """Goes on with a study: trials that are over are kept, failed ones are tried again.

    Raises:
        UserError: As :func:`begin`, or if the folder holds no study.
    """
    study, out = load(out.absolute()), out.absolute()
    study.check()
    for one in records(out, study.cells()):
        if one.failed:
            drop(out, one)
    return run(study, out, runtime, follow)


def run(
    study: Study, out: Path, runtime: RuntimeConfig, follow: Follow | None = None, trial: TrialFunction | None = None
) -> StudyResult:
    """Makes the trials that have no record, then chooses, scores and writes the results.

    Args:
        study, out, runtime, follow: As in :func:`begin`; the study is that of the folder.
        trial: Stands in for the trial (tests): called as :func:`tune_trial` is.
    """
    begun, cells = time.perf_counter(), study.cells()
    ledger = _Ledger(study, out, follow)
    if ledger.missing:
        given = _given(study, ledger.tell)
        with connected(_roles(study, runtime)):
            _session(study, out, runtime.workers, _require(study), ledger, trial or tune_trial, given)
        if ledger.missing:  # Tune ends its loop on Ctrl-C and says nothing
            raise KeyboardInterrupt
    shutil.rmtree(out / TUNE, ignore_errors=True)
    found = records(out, cells)
    results = write_results(study, out, found)
    if not any(one.finished for one in found):
        first = next((one for one in found if one.failed), found[0])
        raise UserError(
            f"no trial of the study came to an end ({first.name}: {first.error or first.status})",
            value=str(results),
            mend="see the column error; mend the study and start it anew, or --resume to try again",
        )
    best = best_of(study, out, found, tell=ledger.tell)
    write_best(study, out, best)
    return StudyResult(out, study, tuple(found), tuple(best), time.perf_counter() - begun)


def tune_trial(
    config: dict[str, Any], study: Study, runs: str, gate: Any, tables: Mapping[str, Sequence[Tables]] | None = None
) -> None:
    """A trial as Tune calls it, in a process that is the trial's alone meanwhile."""
    enter(gate)
    cell = next(cell for cell in study.cells() if cell.name == config["cell"])

    def report(said: Said) -> None:
        score = math.inf if said.score is None else said.score
        more = {"per_seed": list(said.per_seed), "found": dict(said.found)}
        tune.report({**vars(said), SCORE: score, STEPS: said.steps, **more})

    run_trial(study, cell.task, cell.optimizer, config["setting"], Path(runs), report, tables)


def _given(study: Study, tell: Callable[[str], None]) -> dict[str, Any]:
    """What all trials are handed beside the study."""
    if not isinstance(study, SymbolicStudy):
        return {}
    tell("recording tables")
    return {"tables": all_tables(study, learned_rule(study.rule))}


def _roles(study: Study, runtime: RuntimeConfig) -> RuntimeConfig:
    """The runtime with a trial as its worker and no learner."""
    worker = RoleConfig(num_cpus=study.trial.cpus, memory_mb=study.trial.memory_mb)
    return replace(runtime, worker=worker, learner=RoleConfig(num_cpus=0.0), min_workers=1)


def _require(study: Study) -> int:
    """How many trials fit at once; at least one must, or Tune would wait forever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    fit = places(nodes, study.trial.cpus, study.trial.memory_mb * _MB)
    if not fit:
        cpus, memory = max((node.get("CPU", 0.0), node.get("memory", 0.0) / _MB) for node in nodes)
        raise UserError(
            f"no node has room for a trial of {study.trial.cpus:g} CPUs and {study.trial.memory_mb} MB",
            value=f"at most {cpus:g} CPUs and {memory:.0f} MB",
            mend="lower trial.cpus or trial.memory_mb",
        )
    return fit


def _session(
    study: Study, out: Path, at_once: int, fit: int, ledger: _Ledger, trial: TrialFunction, given: Mapping[str, Any]
) -> None:
    """One Tune experiment over the trials that have no record; ``given`` goes to all of them through the object store."""
    found = records(out, study.cells())
    search = StudySearch(study, found)
    asha = StudyAsha(study.cells(), study.search, study.budget, found) if study.search.kind == "asha" else None
    resources = {"cpu": study.trial.cpus, "memory": study.trial.memory_mb * _MB}
    trainable = tune.with_parameters(
        trial, study=study, runs=str(out / RUNS), gate=new_gate(min(at_once or fit, fit, search.remaining)), **given
    )
    with _quiet():
        tuner = tune.Tuner(
            tune.with_resources(trainable, {name: amount for name, amount in resources.items() if amount}),
            tune_config=tune.TuneConfig(
                num_samples=search.remaining,
                search_alg=search,
                scheduler=asha,
                max_concurrent_trials=at_once or None,  # none: what waits makes a cluster grow
                reuse_actors=True,
                trial_dirname_creator=_dirname,
            ),
            run_config=tune.RunConfig(
                name=f"{time.time_ns()}",
                storage_path=str(out / TUNE),
                failure_config=tune.FailureConfig(max_failures=study.trial.attempts - 1),
                callbacks=[ledger],
                verbose=0,
            ),
        )
        tuner.fit()


def _dirname(trial: Trial) -> str:
    return str(trial.trial_id)


@contextmanager
def _quiet() -> Iterator[None]:
    """Tune prints and logs nothing, and the signal handlers that it leaves behind are put back."""
    before = {name: os.environ.get(name) for name in _QUIET}
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    os.environ.update(_QUIET)
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for number, handler in handlers.items() if main else ():
            signal.signal(number, handler)


class _Ledger(tune.Callback):
    """Writes a record of every trial that ends, and tells the follower."""

    def __init__(self, study: Study, out: Path, follow: Follow | None) -> None:
        self._study, self._out, self._follow = study, out, follow
        self._records = {(one.cell, one.ordinal): one for one in records(out, study.cells())}
        self._begun: dict[str, float] = {}
        self._said: dict[str, list[dict[str, Any]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return tune.Callback, ()  # Tune pickles callbacks into a file that nobody reads

    @property
    def total(self) -> int:
        """Trials of the study."""
        return len(self._study.cells()) * self._study.draws

    @property
    def missing(self) -> int:
        """Trials without a record."""
        return self.total - len(self._records)

    def on_trial_start(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:  # noqa: ARG002
        self._begun[trial.trial_id], self._said[trial.trial_id] = time.monotonic(), []
        self._tell()

    def on_trial_result(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, result: dict[str, Any], **info: Any  # noqa: ARG002
    ) -> None:  # fmt: skip
        self._said.setdefault(trial.trial_id, []).append(result)

    def on_trial_complete(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:  # noqa: ARG002
        said = self._said.get(trial.trial_id) or [trial.last_result]
        last = said[-1]
        status = str(last["status"])
        if status in ("ok", "diverged") and last[STEPS] < self._study.budget:
            status = PRUNED
        self._end(trial, said, status, str(last["error"]), float(last["seconds"]))

    def on_trial_error(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:  # noqa: ARG002
        seconds = time.monotonic() - self._begun.get(trial.trial_id, time.monotonic())
        hung = seconds > self._study.trial.timeout_s
        why = "hung past timeout_s, its process was ended" if hung else "its process died, see Ray's logs"
        self._end(trial, self._said.get(trial.trial_id, []), TIMEOUT if hung else DIED, why, seconds)

    def _end(self, trial: Trial, said: Sequence[Mapping[str, Any]], status: str, error: str, seconds: float) -> None:
        config, last = trial.config, said[-1] if said else {}
        score = last.get(SCORE, math.inf)
        record = Record(
            config["cell"],
            config["ordinal"],
            config["point"],
            config["setting"],
            status,
            int(last.get(STEPS, 0)),
            score if math.isfinite(score) else None,
            tuple(last.get("per_seed", ())),
            tuple((int(one[STEPS]), float(one[SCORE])) for one in said if math.isfinite(one[SCORE])),
            round(seconds, 3),
            error,
            dict(last.get("found", {})),
        )
        keep(self._out, record)
        self._records[record.cell, record.ordinal] = record
        self._begun.pop(trial.trial_id, None)
        self._tell(record)

    def tell(self, doing: str) -> None:
        """Says what is done before or after the trials."""
        self._tell(doing=doing)

    def _tell(self, newest: Record | None = None, doing: str = "") -> None:
        if self._follow is None:
            return
        best: dict[str, float] = {}
        for one in self._records.values():
            if one.finished and one.score is not None:
                best[one.cell] = min(one.score, best.get(one.cell, math.inf))
        failed = sum(one.failed for one in self._records.values())
        self._follow(StudyProgress(self.total, len(self._records), failed, len(self._begun), best, newest, doing))
