"""The trials of a study: one setting on all tuning seeds. Plain functions that report; they do not know Tune."""

from __future__ import annotations

import copy
import hashlib
import json
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor

from rayl2o.checkpoint import replace_file
from rayl2o.cluster.pinned import pin
from rayl2o.cluster.study_base import Study
from rayl2o.cluster.study_config import BaselineStudy, TrainingStudy
from rayl2o.cluster.study_space import OPTIMIZERS
from rayl2o.cluster.study_symbolic import SymbolicStudy, operand_key
from rayl2o.cluster.symbolic_fit import Fitted, fitted
from rayl2o.cluster.trial_limits import Deadline, TrialMemory, TrialTimeout, limited, sole_user
from rayl2o.config import RunConfig
from rayl2o.errors import UserError
from rayl2o.evaluate.runner import LOSS_CAP, Curves, mean_loss
from rayl2o.evaluate.runner import run as run_rule
from rayl2o.folder import CONFIG, trained_rule
from rayl2o.rules.files import LoadedRule
from rayl2o.run import resume, train
from rayl2o.symbolic.tables import Tables
from rayl2o.tasks.base import Batch, TaskBatch, TaskFamily, TaskSpec
from rayl2o.telemetry import Progress
from rayl2o.unroll.closed_loop import PENALTY
from rayl2o.unroll.segment import DIVERGED, OK

TIMEOUT, MEMORY, ERROR = "timeout", "memory", "error"
SCORES = "scores.json"


@dataclass(frozen=True)
class Said:
    """What a trial reports.

    Attributes:
        steps: Steps done, of the study's budget.
        score: What is minimized: mean loss so far over tuning seeds (and meta-seeds), or a formula's metric; None if the trial
            failed.
        status: ``ok``, ``diverged`` (on a seed), ``timeout``, ``memory`` or ``error``.
        per_seed: The score of each tuning seed; empty where the score is R2.
        error: Why it failed.
        seconds: Since the trial began.
        found: The formula that a distillation found, and the CPU seconds of all its searches so far; JSON-able.
    """

    steps: int
    score: float | None
    status: str = OK
    per_seed: tuple[float, ...] = ()
    error: str = ""
    seconds: float = 0.0
    found: Mapping[str, Any] = field(default_factory=dict)


Report = Callable[[Said], None]
_Score = tuple[float, str, tuple[float, ...]]


def run_trial(
    study: Study,
    task: str,
    optimizer: str,
    setting: Mapping[str, Any],
    runs: Path,
    report: Report,
    tables: Mapping[str, Sequence[Tables]] | None = None,
) -> None:
    """Runs a setting and reports at the study's milestones, or once why it failed. Never raises an ``Exception``.

    Args:
        study, task, optimizer, setting: What is tried.
        runs: Folder of the trials' meta-trainings.
        report: Told at every milestone.
        tables: What a distillation fits, by its operands, for each tuning fit; None for the other kinds.
    """
    pin()
    steps = 0

    def timed(said: Said) -> None:
        nonlocal steps
        steps = said.steps
        report(replace(said, seconds=deadline.elapsed))

    deadline = Deadline(study.trial.timeout_s)
    try:
        with limited(study.trial.timeout_s, study.trial.memory_mb) as deadline:
            if isinstance(study, BaselineStudy):
                baseline(study, task, optimizer, setting, deadline, timed)
            elif isinstance(study, TrainingStudy):
                training(study, setting, runs, deadline, timed)
            elif isinstance(study, SymbolicStudy) and tables is not None:
                distillation(study, setting, tables, deadline, timed)
        return
    except TrialTimeout as error:
        status, why = TIMEOUT, str(error)
    except TrialMemory as error:
        status, why = MEMORY, str(error)
    except UserError as error:
        status, why = ERROR, str(error)
    except Exception as error:  # a trial's fault must not cost the others their results
        status, why = ERROR, f"{type(error).__name__}: {error} (on {socket.gethostname()})"
    timed(Said(steps, None, status, error=why))


def baseline(
    study: BaselineStudy, task: str, optimizer: str, setting: Mapping[str, Any], deadline: Deadline, report: Report
) -> None:
    """A classic rule with one setting, tuning seeds side by side; reports the mean loss so far."""
    rule = OPTIMIZERS[optimizer].make(**setting)
    marks, tally = study.milestones, _Tally()

    def see(loss: Tensor, grad: Tensor) -> None:
        deadline.check()
        tally.take(loss, grad)
        if tally.steps in marks[:-1]:
            report(_said(tally.steps, tally.per_seed(), tally.status))

    family = _Watched(study.family(task), see)
    curves = run_rule(rule, {}, family, study.tuning_seeds, study.horizon)
    # All seeds may diverge before the last milestones.
    for mark in (m for m in marks if m > tally.steps or m == study.horizon):
        report(_said(mark, curves.loss[:, :mark].mean(1).tolist(), _status(curves)))


def training(study: TrainingStudy, setting: Mapping[str, Any], runs: Path, deadline: Deadline, report: Report) -> None:
    """Meta-trains with a setting, from every meta-seed up to a milestone each time; goes on where an earlier attempt stopped."""
    folder = runs / digest(setting)
    family = study.config(setting, study.meta_seeds[0]).make_family()
    with sole_user(folder):
        known = _read_scores(folder / SCORES)
        for mark in study.milestones:
            if str(mark) not in known:
                rules = [
                    _advance(training_config(study, setting, seed), folder / f"seed-{seed}", mark, deadline)
                    for seed in study.meta_seeds
                ]
                known[str(mark)] = _closed_loop(study, rules, _Watched(family, lambda *_: deadline.check()))
                replace_file(folder / SCORES, lambda file: file.write(json.dumps(known).encode()))
            score, status, per_seed = known[str(mark)]
            report(Said(mark, score, status, per_seed))


def distillation(
    study: SymbolicStudy,
    setting: Mapping[str, Any],
    tables: Mapping[str, Sequence[Tables]],
    deadline: Deadline,
    report: Report,
) -> None:
    """Fits with a setting up to a milestone each time, every time from the start: an engine is deterministic in its steps.

    The formula that is told is the first fit's; CPU seconds are those of all searches so far.
    """

    def checked(function: Callable[..., Any], *items: Iterable[Any]) -> Iterator[Any]:
        for result in map(function, *items):
            deadline.check()
            yield result

    family = _Watched(study.family(), lambda *_: deadline.check())
    own = copy.deepcopy(tables[operand_key(study.preset(setting).operands)])  # what Ray hands over cannot be written to
    spent = 0.0
    for mark in study.milestones:
        preset = study.preset(setting, mark)
        fits = [
            _in_time(fitted, study, preset, one, seed, family, checked)
            for one, seed in zip(own, study.tuning_fits, strict=True)
        ]
        spent += sum(one.cpu_s for one in fits)
        means = tuple(sum(parts) / len(fits) for parts in zip(*(one.per_seed for one in fits), strict=True))
        score = sum(one.score for one in fits) / len(fits)
        report(Said(mark, score, OK, means, found={**fits[0].to_json(), "cpu_s": round(spent, 3)}))


def _in_time(function: Callable[..., Fitted], *arguments: Any) -> Fitted:
    """Calls it. Whatever is raised inside an engine comes as the engine's failure: a limit of the trial is none."""
    try:
        return function(*arguments)
    except UserError as error:
        if isinstance(error.__cause__, TrialTimeout | MemoryError):
            raise error.__cause__ from None
        raise


def training_config(study: TrainingStudy, setting: Mapping[str, Any], meta_seed: int) -> RunConfig:
    """The run of a setting with a checkpoint at every milestone."""
    marks = study.milestones
    config = study.config(setting, meta_seed)
    return config if len(marks) == 1 else replace(config, output=replace(config.output, checkpoint_every=marks[0]))


def digest(setting: Mapping[str, Any]) -> str:
    """A short name of a setting, for its folder."""
    return hashlib.sha256(json.dumps(setting, sort_keys=True).encode()).hexdigest()[:16]


class _Pause(Exception):
    """Ends a run at a milestone, to be resumed."""


def _advance(config: RunConfig, folder: Path, until: int, deadline: Deadline) -> LoadedRule:
    """The rule of a run after ``until`` updates; runs one update more, which a resume does again."""

    def follow(progress: Progress) -> None:
        deadline.check()
        if progress.round > until:
            raise _Pause

    with suppress(_Pause):
        if (folder / CONFIG).is_file():
            resume(folder, follow)
        else:
            train(config, folder, follow)
    return trained_rule(folder)


def _closed_loop(study: TrainingStudy, rules: Sequence[LoadedRule], family: TaskFamily) -> _Score:
    """Score over meta-seeds, status, and score per tuning seed."""
    found = [run_rule(one.rule, one.phi, family, study.tuning_seeds, study.horizon) for one in rules]
    per_seed = torch.tensor([mean_loss(curves).tolist() for curves in found], dtype=torch.float64).mean(0)
    status = DIVERGED if any(_status(curves) == DIVERGED for curves in found) else OK
    return float(per_seed.mean()), status, tuple(per_seed.tolist())


def _read_scores(path: Path) -> dict[str, _Score]:
    if not path.is_file():
        return {}
    return {mark: (one[0], one[1], tuple(one[2])) for mark, one in json.loads(path.read_text()).items()}


def _said(steps: int, per_seed: Sequence[float], status: str) -> Said:
    return Said(steps, sum(per_seed) / len(per_seed), status, tuple(per_seed))


def _status(curves: Curves) -> str:
    return DIVERGED if DIVERGED in curves.status else OK


class _Tally:
    """Mean losses so far, charged for divergence as :func:`rayl2o.unroll.closed_loop.closed_loop` does at the end."""

    def __init__(self) -> None:
        self.steps = 0
        self._total = self._first = self._last = torch.zeros(0, dtype=torch.float64)
        self._alive = torch.ones(0, dtype=torch.bool)

    def take(self, loss: Tensor, grad: Tensor) -> None:
        """Losses ``[K]`` and gradients ``[K, D]`` of the next step."""
        loss = loss.double()
        if not self.steps:
            self._first = self._last = loss
            self._total, self._alive = torch.zeros_like(loss), torch.ones_like(loss, dtype=torch.bool)
        self._alive = self._alive & torch.isfinite(loss) & (loss <= LOSS_CAP) & torch.isfinite(grad).all(1)
        self._last = torch.where(self._alive, loss, self._last)
        charged = torch.maximum(PENALTY * self._first.abs(), self._last)
        self._total = self._total + torch.where(self._alive, loss, charged)
        self.steps += 1

    def per_seed(self) -> list[float]:
        return cast(list[float], (self._total / self.steps).tolist())

    @property
    def status(self) -> str:
        return OK if bool(self._alive.all()) else DIVERGED


@dataclass(frozen=True)
class _Watched:
    """A family whose every loss and gradient is also shown to ``see``."""

    inner: TaskFamily
    see: Callable[[Tensor, Tensor], None]

    @property
    def family(self) -> str:
        return self.inner.family

    def sample(self, generator: torch.Generator) -> TaskSpec:
        return self.inner.sample(generator)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> TaskBatch:
        task = self.inner.build(specs, device, dtype)

        def loss_and_grad(params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
            loss, grad = task.loss_and_grad(params, batch)
            self.see(loss, grad)
            return loss, grad

        names = ("layout", "k", "init_params", "draw_batch", "hvp", "loss")
        return cast(
            TaskBatch, SimpleNamespace(loss_and_grad=loss_and_grad, **{name: getattr(task, name) for name in names})
        )
