"""Fresh runs of a task family, named by a seed and a role, so that no two stages of a distillation ever share one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from rayl2o.errors import UserError, unknown_name
from rayl2o.rules.base import Rule
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.base import TaskBatch, TaskFamily, TaskSpec
from rayl2o.unroll.closed_loop import Curves, closed_loop

ROLES = ("collect", "validate", "test", "select", "tune", "report")


@dataclass(frozen=True)
class Runs:
    """``count`` independent runs: task, initialisation and minibatches, all derived from (seed, role, number of the run).

    Attributes:
        family: The tasks are drawn from it.
        seed: Seed of the distillation.
        role: What the runs are for, one of :data:`ROLES`; different roles never share a draw.
        count: How many, at least 1.
        first: Number of the first of them: runs 4 to 7 are the same whether 0 to 3 are run beside them or elsewhere.
    """

    family: TaskFamily
    seed: int
    role: str
    count: int
    first: int = 0

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise unknown_name("role of runs", self.role, ROLES)
        if self.count < 1:
            raise UserError(f"the number of {self.role} runs must be positive", value=self.count, mend="use 3 or more")

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of its runs."""
        return tuple(range(self.first, self.first + self.count))

    def parts(self, size: int) -> list[Runs]:
        """The same runs in parts of ``size`` or fewer."""
        return [
            replace(self, first=first, count=min(size, self.first + self.count - first))
            for first in self.numbers[::size]
        ]

    def specs(self, repeat: int = 1) -> list[TaskSpec]:
        """``repeat * count`` task specs; run i stands at rows i, i + count, i + 2 count ..."""
        drawn = [self.family.sample(generator(self.seed, "symbolic", self.role, "task", i)) for i in self.numbers]
        return drawn * repeat

    def build(self, repeat: int = 1) -> TaskBatch:
        """The tasks of :meth:`specs` side by side."""
        return self.family.build(self.specs(repeat))

    def init_seeds(self, repeat: int = 1) -> list[int]:
        """Seeds of the initialisations, in the order of :meth:`specs`."""
        return [derive_seed(self.seed, "symbolic", self.role, "init", i) for i in self.numbers] * repeat

    def batch_seeds(self, repeat: int = 1) -> Callable[[int], list[int]]:
        """Step to minibatch seeds, in the order of :meth:`specs`; repeats of a run see the same minibatches."""

        def seeds(step: int) -> list[int]:
            return [derive_seed(self.seed, "symbolic", self.role, "batch", i, step) for i in self.numbers] * repeat

        return seeds


def play(
    rule: Rule,
    phi: Mapping[str, Tensor],
    runs: Runs,
    steps: int,
    repeat: int = 1,
    observe: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Curves:
    """Runs the rule on every run side by side, ``repeat`` times (phi may hold one ``[K, 1]`` value per row).

    Returns:
        Losses ``[repeat * count, steps]`` as :func:`~rayl2o.unroll.closed_loop.closed_loop` returns them.
    """
    return closed_loop(
        rule,
        phi,
        runs.build(repeat),
        runs.init_seeds(repeat),
        runs.batch_seeds(repeat),
        steps,
        observe=observe,
    )
