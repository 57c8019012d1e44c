"""What all kinds of study share, as frozen data: how settings are found, what a trial may use, which seeds choose or score."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rayl2o.cluster.study_space import Dimension, latin
from rayl2o.errors import UserError, unknown_name

BASELINES, TRAINING, SYMBOLIC = "baselines", "training", "symbolic"
SEARCHES = ("random", "asha", "optuna")


@dataclass(frozen=True)
class SearchConfig:
    """How settings are found.

    Attributes:
        kind: ``random`` (Latin hypercube), ``asha`` (the same draws, the worse ones stopped early) or ``optuna`` (TPE).
        reduction: ASHA: one of so many goes on at each milestone, and milestones lie by this factor apart.
        grace: ASHA: steps before the first milestone; 0 means the budget of a trial over the third power of ``reduction``.
    """

    kind: str = "random"
    reduction: int = 3
    grace: int = 0

    def __post_init__(self) -> None:
        if self.kind not in SEARCHES:
            raise unknown_name("search.kind", self.kind, SEARCHES)
        if self.reduction < 2:
            raise UserError("search.reduction must be at least 2", value=self.reduction, mend="use 3")
        if self.grace < 0:
            raise UserError("search.grace must be at least 0", value=self.grace, mend="0 chooses one")

    def milestones(self, budget: int) -> tuple[int, ...]:
        """Steps at which a trial reports, the last of them the whole budget."""
        return (*self.rungs(budget), budget) if self.kind == "asha" else (budget,)

    def rungs(self, budget: int) -> tuple[int, ...]:
        """Steps after which ASHA stops trials: ``grace reduction^k``, below the budget."""
        first = self.grace or max(1, budget // self.reduction**3)
        count = max(0, math.ceil(math.log(budget / first, self.reduction) - 1e-9)) if first < budget else 0
        return tuple(first * self.reduction**k for k in range(count))


@dataclass(frozen=True)
class TrialConfig:
    """What a trial may use. Torch runs on one thread whatever it reserves.

    Attributes:
        cpus: Logical CPUs that a trial books.
        memory_mb: Memory in MB that a trial books and may use beyond what its process has when it begins; 0 for no limit.
        timeout_s: Seconds after which a trial is given up.
        attempts: How often a trial is tried if its process dies.
    """

    cpus: float = 1.0
    memory_mb: int = 0
    timeout_s: float = 3600.0
    attempts: int = 2

    def __post_init__(self) -> None:
        for name in ("cpus", "timeout_s"):
            if not getattr(self, name) > 0:
                raise UserError(
                    f"trial.{name} must be positive", value=getattr(self, name), mend="give a number above 0"
                )
        if self.memory_mb < 0:
            raise UserError("trial.memory_mb must be at least 0", value=self.memory_mb, mend="0 sets no limit")
        if self.attempts < 1:
            raise UserError("trial.attempts must be at least 1", value=self.attempts, mend="use 2")


@dataclass(frozen=True)
class Cell:
    """What is tuned for itself, with its own equal share of draws.

    Attributes:
        name: Unique in the study, fit for a file's name.
        task, optimizer: What is tuned on what.
        dimensions: What is searched, by name of the setting.
        seed: Draws the settings.
    """

    name: str
    task: str
    optimizer: str
    dimensions: Mapping[str, Dimension]
    seed: int

    def points(self, draws: int) -> list[dict[str, float]]:
        """The draws of ``random`` and ``asha`` as fractions."""
        return latin(list(self.dimensions), draws, self.seed)


@dataclass(frozen=True)
class Study:
    """What all kinds share.

    Attributes:
        kind: ``baselines``, ``training`` or ``symbolic``.
        seed: Draws the settings.
        draws: Settings tried for every cell (task and optimizer): equal budgets.
        horizon: Inner steps over which the mean loss is taken, in tuning and in scoring.
        tuning_seeds: Seeds that a setting is chosen on.
        scoring_seeds: Other seeds, on which the chosen settings are compared.
        search, trial: See each.
    """

    kind: str = BASELINES
    seed: int = 0
    draws: int = 40
    horizon: int = 1000
    tuning_seeds: tuple[int, ...] = (1, 2, 3)
    scoring_seeds: tuple[int, ...] = tuple(range(100, 110))
    search: SearchConfig = field(default_factory=SearchConfig)
    trial: TrialConfig = field(default_factory=TrialConfig)

    def __post_init__(self) -> None:
        for name in ("draws", "horizon"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1", value=getattr(self, name), mend="give a positive number")
        for name, least in (("tuning_seeds", 1), ("scoring_seeds", 2)):
            check_seeds(name, getattr(self, name), least)
        if shared := sorted(set(self.tuning_seeds) & set(self.scoring_seeds)):
            raise UserError(
                "tuning seeds must not be scoring seeds", value=shared, mend="choose other seeds to tune on"
            )

    @property
    def budget(self) -> int:
        """Steps of a whole trial: inner steps, or updates of a meta-training."""
        raise NotImplementedError

    def cells(self) -> tuple[Cell, ...]:
        """What is tuned."""
        raise NotImplementedError

    def check(self) -> None:
        """What only a try can tell, before any work starts: tasks and their data, the ends of every range, packages.

        Raises:
            UserError: If something is amiss.
        """
        if self.search.kind == "optuna" and importlib.util.find_spec("optuna") is None:
            raise UserError(
                "search.kind optuna needs the package optuna, which is not installed",
                value=self.search.kind,
                mend="pip install 'optuna>=3', or use random or asha",
            )

    @property
    def milestones(self) -> tuple[int, ...]:
        """Steps at which a trial reports."""
        return self.search.milestones(self.budget)


def check_seeds(name: str, seeds: Sequence[int], least: int) -> None:
    """Raises UserError unless they are ``least`` or more different numbers from 0."""
    if len(set(seeds)) != len(seeds) or len(seeds) < least or min(seeds) < 0:
        raise UserError(
            f"{name} must be {least} or more different numbers from 0", value=list(seeds), mend="e.g. [1, 2, 3]"
        )
