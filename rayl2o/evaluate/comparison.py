"""From curves to the table of results: every contender against the reference, task by task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from rayl2o.errors import unknown_name
from rayl2o.evaluate.runner import Run, log_loss, marks, mean_loss
from rayl2o.evaluate.statistics import BOOTSTRAP, Bootstrap, Interval, mean_interval, paired_difference
from rayl2o.unroll.segment import OK

REFERENCE, BETTER, WORSE, UNDECIDED = "reference", "better", "worse", "undecided"


@dataclass(frozen=True)
class Row:
    """One contender on one task.

    Attributes:
        trained_on: Whether the learned rule saw tasks of this family in meta-training.
        mean_loss, low, high: Mean over seeds of the mean loss over the horizon, and its interval.
        difference: This contender minus the reference, paired by seed (negative: this contender is better); None for the
            reference itself.
        verdict: ``reference``; ``better`` or ``worse`` than it where the interval of the difference is clear of zero;
            ``undecided`` where it is not.
        best_classic: Whether it has the lowest mean loss of the classic rules of its task.
        diverged, seeds: How many runs diverged, of how many.
        log_loss: Mark (as text) to the mean over seeds of the log-loss there.
    """

    rule: str
    kind: str
    task: str
    trained_on: bool
    mean_loss: float
    low: float
    high: float
    difference: Interval | None
    verdict: str
    best_classic: bool
    diverged: int
    seeds: int
    log_loss: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data, the difference as ``{"mean", "low", "high"}``."""
        data = dict(vars(self))
        data["difference"] = None if self.difference is None else dict(vars(self.difference))
        return data


def compare(
    runs: Sequence[Run],
    reference: str,
    trained_on: Collection[str],
    how: Bootstrap = BOOTSTRAP,
) -> list[Row]:
    """One row per run, in order; differences are to the run labelled ``reference`` on the same task.

    Args:
        runs: All contenders on all tasks, over the same seeds within a task.
        reference: Label of a contender that ran on every task.
        trained_on: Names of the tasks that were trained on.

    Raises:
        UserError: If a task has no run of the reference, or with fewer than two seeds.
        ValueError: If the seeds of two runs on a task differ, or if a run is there twice.
    """
    rows = []
    for task in dict.fromkeys(run.task for run in runs):
        group = {run.rule: run for run in runs if run.task == task}
        if len(group) != sum(run.task == task for run in runs) or len({run.seeds for run in group.values()}) != 1:
            raise ValueError(f"runs on {task} must have different labels and the same seeds")
        if reference not in group:
            raise unknown_name("reference rule", reference, group)
        base = mean_loss(group[reference].curves)
        classic = {label: mean_loss(run.curves).mean() for label, run in group.items() if run.kind == "classic"}
        best = min(classic, key=lambda label: float(classic[label])) if classic else None
        for label, run in group.items():
            scores = mean_loss(run.curves)
            own = mean_interval(scores, how)
            gap = None if label == reference else paired_difference(scores, base, how)
            rows.append(_row(run, task in trained_on, own, gap, label == best))
    return rows


def _row(run: Run, trained_on: bool, own: Interval, gap: Interval | None, best_classic: bool) -> Row:
    return Row(
        run.rule,
        run.kind,
        run.task,
        trained_on,
        own.mean,
        own.low,
        own.high,
        gap,
        verdict(gap),
        best_classic,
        sum(status != OK for status in run.curves.status),
        len(run.seeds),
        {str(mark): float(log_loss(run.curves, mark).mean()) for mark in marks(run.curves.loss.shape[1])},
    )


def verdict(difference: Interval | None) -> str:
    """What an interval of (contender - reference) entitles one to say; lower losses are better."""
    if difference is None:
        return REFERENCE
    if not difference.clear_of_zero:
        return UNDECIDED
    return BETTER if difference.mean < 0 else WORSE
