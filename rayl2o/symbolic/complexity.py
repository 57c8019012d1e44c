"""MC of S: the size of the simplest formula that comes within a stated error of the rule, under a stated way of counting."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Var, walk
from rayl2o.rules.operands import Ema
from rayl2o.symbolic.candidate import Candidate

ERROR = 0.05
"""Largest 1 - R2 on held-out rows. S never states its threshold: quote it with every MC."""
NEGLIGIBLE = 0.05
"""What Table 2 of S takes as forgotten: momentum counts the lags i with ``beta^i`` above it."""
COUNTING_RULE = (
    "nodes: every constant, operand and operator counts 1 (PySR's default); a lag or an average is one operand. "
    "inputs: as in Table 2 of S, operators are free, each operand counts 1, an average the lags until beta^i = 0.05."
)


@dataclass(frozen=True)
class MappingComplexity:
    """MC read off a front.

    Attributes:
        threshold: Largest ``1 - R2`` that was allowed.
        nodes: MC in nodes; None if no member comes within the threshold.
        inputs: The same member in inputs, to compare formulas over averages with formulas over lags.
        error: Its ``1 - R2`` on held-out rows.
        formula: It.
    """

    threshold: float
    nodes: int | None = None
    inputs: int | None = None
    error: float | None = None
    formula: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data, with the way of counting."""
        return {**vars(self), "counting_rule": COUNTING_RULE}


def mapping_complexity(candidates: Iterable[Candidate], threshold: float = ERROR) -> MappingComplexity:
    """The simplest candidate that was not refused, with ``1 - R2 <= threshold`` on held-out rows.

    Raises:
        UserError: If the threshold is not between 0 and 1.
    """
    if not 0.0 <= threshold < 1.0:
        raise UserError("the error threshold of MC is a share of the variance", value=threshold, mend="use 0.05")
    within = [c for c in candidates if not c.refused and 1.0 - c.r2_val <= threshold]
    if not within:
        return MappingComplexity(threshold)
    best = min(within, key=lambda c: (c.complexity, -c.r2_val, str(c.expression)))
    return MappingComplexity(
        threshold, best.complexity, inputs(best.expression), 1.0 - best.r2_val, str(best.expression)
    )


def inputs(expression: Expression) -> int:
    """Operands that a formula reads, each once, an average as the lags it takes to forget: SGD 1, momentum(.9) 29."""
    read = {node.operand for node, _ in walk(expression.root) if isinstance(node, Var)}
    return sum(lags_until_forgotten(o.beta) if isinstance(o, Ema) else 1 for o in read)


def lags_until_forgotten(beta: float) -> int:
    """i0 of Table 2 of S, ``beta^i0 = 0.05``, rounded up; at least 1."""
    return max(1, math.ceil(math.log(NEGLIGIBLE) / math.log(beta)))
