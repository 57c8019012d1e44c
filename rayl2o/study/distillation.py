"""What a study distils its trained rules into, and by what it measures them: settings, as frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rayl2o.config import TaskChoice
from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.registry import parse_rule
from rayl2o.symbolic.engines.registry import engine
from rayl2o.symbolic.table import MODES
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.registry import task


@dataclass(frozen=True)
class Distillation:
    """Recorded on a task, fitted by an engine, measured: TPF and MC of paper S, R2 (its Tables 2, 3 and 7).

    Attributes:
        engine: Engine of symbolic regression; empty distils nothing.
        settings: Of the engine.
        task: Where rules run while they are recorded.
        seed: Of the runs, rows and coordinates that are recorded: the same for every arm, meta-seed and known rule.
        steps: Length of the runs.
        runs: Runs of each role: fitted, held out to choose, held out to score. No run has two roles.
        rows: Rows of each table.
        modes: Operands that are searched over, one search each: ``ema`` (averages) or ``paper`` (20 lags).
        signals: Kind of rule, or text of a known one, to the signals that its formulas read, where they are not the usual ones
            (:func:`rayl2o.symbolic.table.operands_of`).
        cpu_s, max_complexity: Ceilings of a search.
        search_seeds: Seeds of the search; their fronts are merged.
        horizons: Steps back over which TPF is taken, each.
        errors: Thresholds of MC: largest ``1 - R2`` on held-out rows.
        nodes: Sizes at which R2 is read: the best formula up to there.
        known: Rules without weights that are measured too, such as ``momentum:lr=0.1,momentum=0.9``.
    """

    engine: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    task: TaskChoice = field(default_factory=TaskChoice)
    seed: int = 0
    steps: int = 300
    runs: int = 2
    rows: int = 5000
    modes: tuple[str, ...] = ("ema",)
    signals: dict[str, tuple[str, ...]] = field(default_factory=dict)
    cpu_s: float = 60.0
    max_complexity: int = 60
    search_seeds: tuple[int, ...] = (0,)
    horizons: tuple[int, ...] = (20,)
    errors: tuple[float, ...] = (0.05,)
    nodes: tuple[int, ...] = (10, 25)
    known: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("steps", "runs", "rows", "max_complexity"):
            if getattr(self, name) < 1:
                raise UserError(f"distillation.{name} must be at least 1", value=getattr(self, name), mend="use more")
        if not self.cpu_s > 0:
            raise UserError("distillation.cpu_s must be positive", value=self.cpu_s, mend="give seconds")
        for name in ("modes", "search_seeds", "horizons", "errors", "nodes"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise UserError(f"distillation.{name} must be different values", value=values, mend="leave it out")
        for mode in self.modes:
            if mode not in MODES:
                raise unknown_name("operand mode", mode, MODES)
        if min(self.horizons) < 1 or max(self.horizons) > self.steps:
            raise UserError(
                "distillation.horizons must lie within the runs", value=self.horizons, mend="raise distillation.steps"
            )
        if not all(0.0 <= error < 1.0 for error in self.errors):
            raise UserError("distillation.errors are shares of the variance", value=self.errors, mend="e.g. [0.05]")
        if not self.engine and self.known:
            raise UserError("known rules need an engine", value=self.known, mend="set distillation.engine: evolved")
        if self.engine:
            engine(self.engine, self.settings)
        for text in self.known:
            parse_rule(text)

    @property
    def asked(self) -> bool:
        """Whether anything is distilled."""
        return bool(self.engine)

    def make_family(self) -> TaskFamily:
        """Its task."""
        return task(self.task.name, **self.task.settings)
