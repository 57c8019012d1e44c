"""The linear engine on any table: sparse sums of columns by matching pursuit with exchanges, and ridge on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Const
from rayl2o.rules.operands import column_operand
from rayl2o.symbolic.engines.base import Budget, Data, Pmap
from rayl2o.symbolic.linear import pursue, ridge


@dataclass(frozen=True)
class Linear:
    """Deterministic without a seed, under a CPU second. What every engine must beat in closed loop: few have.

    No offset: it would move parameters without a gradient too.

    Attributes:
        terms: Numbers of terms of the sparse sums.
        ridge: Penalty of the fit with all columns, as a share of the rows (columns have unit variance).
        exchange: See :func:`~rayl2o.symbolic.linear.pursue`.

    Raises:
        UserError: If no number of terms is given, one is not positive, or the penalty is not.
    """

    name: ClassVar[str] = "linear"

    terms: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 10, 12)
    ridge: float = 1e-4
    exchange: bool = True

    def __post_init__(self) -> None:
        if not self.terms or min(self.terms) < 1:
            raise UserError("the numbers of terms must be positive", value=self.terms, mend="use (1, 2, 3, 4, 6, 8)")
        if not self.ridge > 0:
            raise UserError("the ridge penalty must be positive", value=self.ridge, mend="use 1e-4")

    def fit(self, train: Data, val: Data, budget: Budget, seed: int, pmap: Pmap = map) -> Sequence[Expression]:
        """See :class:`~rayl2o.symbolic.engines.base.Engine`; the larger sums may exceed the budget's complexity and are left out.

        Raises:
            UserError: If a column cannot be named in a formula.
        """
        del val, seed, pmap
        operands = [column_operand(name) for name in train.names]
        with threadpool_limits(1):
            counts = sorted({k for k in self.terms if k < len(operands) and 4 * k - 1 <= budget.max_complexity})
            fits = pursue(train.x, train.y, counts, self.exchange) if counts else []
            fits.append((tuple(range(len(operands))), ridge(train.x, train.y, self.ridge)))
        found = [
            Expression.linear({operands[i]: float(w) for i, w in zip(chosen, weights, strict=True) if w != 0})
            for chosen, weights in fits
        ]
        kept = [expression for expression in dict.fromkeys(found) if expression.complexity <= budget.max_complexity]
        return sorted(kept, key=lambda e: e.complexity) or [Expression(Const(0.0))]
