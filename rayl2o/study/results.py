"""From a study's document to the rows of its tables: means over meta-seeds, intervals, paired differences."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayl2o.evaluate.comparison import REFERENCE, verdict
from rayl2o.evaluate.statistics import Interval, mean_interval
from rayl2o.study.definition import Evaluation, Study, parse
from rayl2o.study.job import BASELINE, TRAINING
from rayl2o.study.records import OK, Record
from rayl2o.study.scoring import EXACT
from rayl2o.study.training import CPU, UPDATES

META, EVALUATION = "meta-seed", "evaluation seed"
TOO_FEW = "too few pairs"
FEWEST = 5
"""Pairs below which no verdict is given: resampling three or four differences says next to nothing."""


@dataclass(frozen=True)
class Row:
    """One arm, or one tuned baseline, in one evaluation at the end of one clock.

    Attributes:
        evaluation, clock, mark: Where; ``mark`` in updates or CPU seconds, 0 for a baseline.
        label: Name of the arm, or the baseline with its setting.
        levels: Axis to level; empty for a baseline.
        points: Mean loss over horizon and evaluation seeds, one per meta-seed; of a baseline one in all.
        mean, low, high: Mean of the points, and its interval over meta-seeds; over evaluation seeds where there is but one
            point. None, both ends, where there is but one of either.
        alive: Points below ``alive_below``; None if the study counts none.
        against: Label of what it is compared with; empty for none.
        difference: Its mean loss minus the other's, paired over ``paired_by``; None where there is none or a single pair.
        paired_by: ``meta-seed`` or ``evaluation seed``.
        verdict: ``better``, ``worse``, ``undecided``, ``too few pairs``, ``reference``; empty without a difference.
        final: Mean over all runs of the log-loss at the horizon.
        diverged, runs: Runs that diverged, of how many.
        updates, cpu_s: Medians over meta-seeds; 0 for a baseline.
        cosines: Credit to the mean cosine to the exact gradient, over meta-seeds, windows and every snapshot of this clock.
        credit: ``unroll.credit`` of the arm.
    """

    evaluation: str
    clock: str
    mark: float
    label: str
    levels: dict[str, str]
    points: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None
    alive: int | None
    against: str
    difference: Interval | None
    paired_by: str
    verdict: str
    final: float
    diverged: int
    runs: int
    updates: float
    cpu_s: float
    cosines: dict[str, float]
    credit: str

    @property
    def own_cosine(self) -> float | None:
        """Cosine of the arm's own credit to exact credit; None if it was not measured."""
        return 1.0 if self.credit == EXACT else self.cosines.get(self.credit)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        data = dict(vars(self))
        data["difference"] = None if self.difference is None else dict(vars(self.difference))
        return data


@dataclass(frozen=True)
class _Entry:
    """What a row is made of: ``losses [points, evaluation seeds]``, the meta-seeds of the points; the rest as of a row."""

    label: str
    levels: dict[str, str]
    seeds: tuple[int, ...]
    losses: NDArray[np.float64]
    final: float
    diverged: int
    mark: float = 0.0
    updates: float = 0.0
    cpu_s: float = 0.0
    cosines: Mapping[str, float] = field(default_factory=dict)
    credit: str = ""


def rows(document: Mapping[str, Any]) -> list[Row]:
    """All rows of a document of :func:`rayl2o.study.runner.document`: by evaluation and clock, arms in order, then baselines.

    Failed jobs are left out: their arm has fewer points, or no row.
    """
    study = parse(document["definition"], document["study"])
    done = [record for record in document["jobs"] if record["status"] == OK]
    clocks = (UPDATES, CPU) if study.snapshots.cpu_s else (UPDATES,)
    return [row for one in study.evaluations for clock in clocks for row in _rows(study, one, clock, done)]


def measures_cosines(summary: Sequence[Row]) -> bool:
    """Whether there is a cosine of an arm's own credit to compare losses with."""
    return any(row.own_cosine is not None and row.credit != EXACT for row in summary)


def _rows(study: Study, one: Evaluation, clock: str, done: Sequence[Record]) -> list[Row]:
    groups: dict[str, list[Record]] = {}
    for record in done:
        if record["kind"] == TRAINING and all(record["levels"][axis] == level for axis, level in one.where.items()):
            groups.setdefault(record["arm"], []).append(record)
    trained = [_trained(group, one.label, clock) for group in groups.values()]
    classic = [_classic(record) for record in done if record["kind"] == BASELINE and record["evaluation"] == one.label]
    found = [_row(study, one.label, clock, entry, _counterpart(study, entry, trained)) for entry in trained]
    rivals = [entry for entry in trained if study.reference.items() <= entry.levels.items()]
    rival = rivals[0] if len(rivals) == 1 else None
    return found + [_row(study, one.label, clock, entry, rival) for entry in classic]


def _counterpart(study: Study, entry: _Entry, trained: Sequence[_Entry]) -> _Entry | None:
    """What an arm is compared with: itself at the level of reference, the other levels unchanged."""
    wanted = entry.levels | study.reference
    return next((other for other in trained if study.reference and other.levels == wanted), None)


def _last(record: Record, clock: str) -> Record:
    (found,) = (snapshot for snapshot in record["snapshots"] if snapshot["clock"] == clock and snapshot["last"])
    return dict(found)


def _trained(group: Sequence[Record], evaluation: str, clock: str) -> _Entry:
    ends = [_last(record, clock) for record in group]
    scores = [end["evaluations"][evaluation] for end in ends]
    return _Entry(
        group[0]["arm"],
        group[0]["levels"],
        tuple(record["seed"] for record in group),
        np.array([score["mean_loss"] for score in scores]),
        float(np.mean([_final(score) for score in scores])),
        sum(sum(score["diverged"]) for score in scores),
        ends[0]["mark"],
        statistics.median(end["round"] for end in ends),
        statistics.median(end["cpu_s"] for end in ends),
        _cosines(group, clock),
        group[0]["credit"],
    )


def _classic(record: Record) -> _Entry:
    score, edge = record["scores"], record["on_edge"]
    label = record["label"] + (f" (optimum at the edge of the search: {', '.join(edge)})" if edge else "")
    return _Entry(label, {}, (), np.array([score["mean_loss"]]), float(np.mean(_final(score))), sum(score["diverged"]))


def _final(score: Mapping[str, Any]) -> list[float]:
    values: list[float] = score["log_loss"][max(score["log_loss"], key=int)]
    return values


def _cosines(group: Sequence[Record], clock: str) -> dict[str, float]:
    snapshots = [s["cosines"] for record in group for s in record["snapshots"] if s["clock"] == clock]
    credits = dict.fromkeys(credit for found in snapshots for credit in found)
    return {
        credit: float(np.mean([v for found in snapshots for values in found[credit].values() for v in values]))
        for credit in credits
    }


def _row(study: Study, evaluation: str, clock: str, entry: _Entry, other: _Entry | None) -> Row:
    points = entry.losses.mean(axis=1)
    units = points if len(points) > 1 else entry.losses[0]
    own = mean_interval(units) if len(units) > 1 else None
    against, difference, paired_by, said = "", None, "", REFERENCE if other is entry else ""
    if other is not None and other is not entry:
        against, (gaps, paired_by) = other.label, _gaps(entry, other)
        if len(gaps) > 1:
            difference = mean_interval(gaps)
            said = verdict(difference) if len(gaps) >= FEWEST else TOO_FEW
    return Row(
        evaluation=evaluation,
        clock=clock,
        mark=entry.mark,
        label=entry.label,
        levels=entry.levels,
        points=tuple(points.tolist()),
        mean=float(points.mean()),
        low=None if own is None else own.low,
        high=None if own is None else own.high,
        alive=int((points < study.alive_below).sum()) if study.alive_below and entry.levels else None,
        against=against,
        difference=difference,
        paired_by=paired_by,
        verdict=said,
        final=entry.final,
        diverged=entry.diverged,
        runs=entry.losses.size,
        updates=entry.updates,
        cpu_s=entry.cpu_s,
        cosines=dict(entry.cosines),
        credit=entry.credit,
    )


def _gaps(entry: _Entry, other: _Entry) -> tuple[NDArray[np.float64], str]:
    """Paired differences over the meta-seeds that both have, if there are at least two, else over evaluation seeds."""
    both = [seed for seed in entry.seeds if seed in other.seeds]
    if len(both) > 1:
        a, b = (e.losses.mean(axis=1)[[e.seeds.index(seed) for seed in both]] for e in (entry, other))
        return a - b, META
    return entry.losses.mean(axis=0) - other.losses.mean(axis=0), EVALUATION
