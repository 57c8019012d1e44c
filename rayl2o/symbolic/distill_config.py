"""Settings of a distillation, as frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rayl2o.errors import UserError, unknown_name
from rayl2o.symbolic.engines.base import Budget
from rayl2o.symbolic.engines.registry import DEFAULT
from rayl2o.symbolic.finetune import FinetuneConfig
from rayl2o.symbolic.sampling import SAMPLINGS, STRATA
from rayl2o.symbolic.table import BETAS, LAGS, MODES, operands_of


@dataclass(frozen=True)
class DistillConfig:
    """Settings of a distillation.

    Attributes:
        seed: Every draw derives from it and from the role it is for; roles never share runs.
        horizon: Inner steps for which the formula is meant: length of every run and episode.
        mode, signals, betas, lags: Operands (:func:`~rayl2o.symbolic.table.operands_of`); no signals: by the rule's kind.
        sampling: How rows are drawn, ``strata`` or ``windows`` (:func:`~rayl2o.symbolic.sampling.draw`).
        collect, validate, test, select, tune, report: Runs per role: fitted rows, rows that choose, rows that only report,
            choosing in closed loop, fine-tuning, closed loop that only reports.
        rows: Rows of each table.
        per_tensor: Coordinates recorded per tensor and run (S: 10).
        engine: Of ``rayl2o list engines``; the linear engine's front is always merged in, as what it must beat.
        engine_settings: Of the engine.
        budget: CPU seconds and nodes of one search.
        search_seeds: The engine searches once from each; the fronts are merged.
        candidates: Members of the front that are run in closed loop.
        tolerance: The simplest candidate within this share of the best mean loss is selected.
        gains: Grid of the one-gain control: lowest, highest, points; 0 points turn it off.
        finetune: Fine-tuning; 0 updates turn it off.
        mc_threshold: Held-out R2 at which MC is read off the front.

    Raises:
        UserError: If a number is not positive, a name is unknown or a list is empty.
    """

    seed: int = 0
    horizon: int = 1000
    mode: str = "ema"
    signals: tuple[str, ...] = ()
    betas: tuple[float, ...] = BETAS
    lags: int = LAGS
    sampling: str = STRATA
    collect: int = 3
    validate: int = 4
    test: int = 3
    select: int = 3
    tune: int = 2
    report: int = 5
    rows: int = 5000
    per_tensor: int = 16
    engine: str = DEFAULT
    engine_settings: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=lambda: Budget(max_complexity=100))
    search_seeds: tuple[int, ...] = (0,)
    candidates: int = 8
    tolerance: float = 0.02
    gains: tuple[float, float, int] = (0.5, 5.0, 7)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    mc_threshold: float = 0.8

    def __post_init__(self) -> None:
        roles = ("collect", "validate", "test", "select", "tune", "report")
        for name in ("horizon", *roles, "rows", "per_tensor", "candidates"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"distil.{name} must be at least 1", value=getattr(self, name), mend="leave it at its default"
                )
        for name, known in (("mode", MODES), ("sampling", SAMPLINGS)):
            if getattr(self, name) not in known:
                raise unknown_name(f"distil.{name}", getattr(self, name), known)
        operands_of("", self.mode, self.signals, self.betas, self.lags)
        if not self.search_seeds or len(set(self.search_seeds)) != len(self.search_seeds):
            raise UserError("distil.search_seeds must be different numbers", value=self.search_seeds, mend="e.g. 0 1 2")
