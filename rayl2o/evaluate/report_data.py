"""What a report shows, as plain data: no rule, no task, no file is needed to render it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rayl2o.evaluate.comparison import Row
from rayl2o.evaluate.front_data import FrontPoint, MappingView, NetworkMarks, TraceView
from rayl2o.evaluate.runner import Run
from rayl2o.evaluate.statistics import BOOTSTRAP, Bootstrap
from rayl2o.evaluate.tuning import Tuned


@dataclass(frozen=True)
class Curve:
    """Losses of one contender over seeds: ``loss [K, steps]``, in the task's unit."""

    label: str
    kind: str
    loss: NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """The learning curves on one task.

    Attributes:
        task: Its name, as in the rows.
        description: One line on what it is.
        trained_on: Whether the learned rule saw it in meta-training.
        curves: One per contender.
    """

    task: str
    description: str
    trained_on: bool
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Formula:
    """The formula that was shipped.

    Attributes:
        text: As text, exact enough to be typed in again.
        latex: The update's right-hand side in what matplotlib's mathtext draws, without dollar signs; may be empty.
        note: One line: how many nodes, what the symbols mean.
        usage: Python lines that use it as an optimizer; may be empty.
    """

    text: str
    latex: str = ""
    note: str = ""
    usage: str = ""


@dataclass(frozen=True)
class Stage:
    """The rule at one stage of its way into a formula: network, distilled, one-gain control, tuned.

    Attributes:
        name: Of the stage.
        r2: Held-out R2 against the network; None where it does not apply (a tuned formula no longer imitates).
        mean_loss, low, high: Closed loop on the scoring seeds, with interval.
        note: What was done.
    """

    name: str
    r2: float | None
    mean_loss: float
    low: float
    high: float
    note: str = ""


@dataclass(frozen=True)
class Insight:
    """How far back a rule looks (TPF, by input signal) and how complex it is (MC), as text: thresholds belong to them."""

    rule: str
    tpf: str
    mc: str
    note: str = ""


@dataclass(frozen=True)
class Baseline:
    """A tuned baseline, as text."""

    task: str
    setting: str
    score: float
    draws: int
    ranges: str
    note: str


@dataclass(frozen=True)
class Number:
    """A measured figure with its unit."""

    name: str
    value: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class ReportData:
    """Everything in a report. Empty parts are left out of the page.

    Attributes:
        title, summary: Heading, and one or two sentences on what was done.
        reference: Label of the rule that the others are compared with.
        panels: One per task.
        rows: The table of results, from :func:`rayl2o.evaluate.comparison.compare`.
        horizon: Inner steps of every run.
        formula, stages, front: The symbolic part.
        network: What stands beside the front's points.
        mappings, traces: Network beside formula: update against one input, updates along recorded gradients.
        insights: TPF and MC.
        insights_note: How TPF and MC were counted.
        baselines: What the classic rules were tuned to.
        numbers: Throughput and compute.
        settings, seeds, versions: By name, as text.
        limits: Known limits, a sentence each.
        command: What was typed.
        created: Date and time, as text.
        how: How the intervals of the rows were made.
    """

    title: str
    summary: str
    reference: str
    panels: tuple[Panel, ...]
    rows: tuple[Row, ...]
    horizon: int
    formula: Formula | None = None
    stages: tuple[Stage, ...] = ()
    front: tuple[FrontPoint, ...] = ()
    network: NetworkMarks = field(default_factory=NetworkMarks)
    mappings: tuple[MappingView, ...] = ()
    traces: tuple[TraceView, ...] = ()
    insights: tuple[Insight, ...] = ()
    insights_note: str = ""
    baselines: tuple[Baseline, ...] = ()
    numbers: tuple[Number, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    command: str = ""
    created: str = ""
    how: Bootstrap = BOOTSTRAP


def short(label: str) -> str:
    """The name of a rule without its settings: ``adam`` for ``adam:lr=0.01``."""
    return label.partition(":")[0]


def panels(runs: Sequence[Run], descriptions: Mapping[str, str], trained_on: Sequence[str]) -> tuple[Panel, ...]:
    """One panel per task in ``runs``, in their order."""
    return tuple(
        Panel(
            task,
            descriptions.get(task, ""),
            task in trained_on,
            tuple(Curve(run.rule, run.kind, run.curves.loss) for run in runs if run.task == task),
        )
        for task in dict.fromkeys(run.task for run in runs)
    )


def baseline(tuned: Tuned) -> Baseline:
    """A tuned baseline as the report shows it, with what its search found out about itself."""
    full = sum(draw.steps == tuned.steps for draw in tuned.draws)
    notes = [f"{full} of {len(tuned.draws)} draws ran to the end, the others until they were worse than a finished one"]
    if tuned.extended:
        notes.append(f"ranges grown {tuned.extended}x because the optimum was at an edge")
    if tuned.on_edge:
        notes.append(f"optimum still at the edge of {', '.join(tuned.on_edge)}")
    if tuned.status != "ok":
        notes.append("the winner diverged on a tuning seed")
    return Baseline(
        tuned.task,
        tuned.label,
        tuned.score,
        len(tuned.draws),
        ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in tuned.ranges.items()),
        "; ".join(notes),
    )
