"""One formula and all that is known of it: re-scored by us, guarded, written and read as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.guards import Reason, inspect
from rayl2o.symbolic.metrics import r2
from rayl2o.symbolic.table import EARLY, LATE, Floats, Table


@dataclass(frozen=True)
class Candidate:
    """One formula and what is known of it. All R2 are of the clamped formula on the rows named.

    Attributes:
        expression: In the rule's own units: the displacement, scales folded back.
        engine: Who found it.
        clamp: max |y| of the training trajectories; shipped with the rule.
        r2_train, r2_val: On training rows; on held-out rows of other runs.
        r2_early, r2_late: Of the held-out rows, those of the early and of the late period.
        r2_tensors: Of the held-out rows, by tensor.
        r2_runs: Of the held-out rows, by run: a network may behave unlike itself in one of them.
        refused: Why it must not be run; empty if it may.
        flagged: What to be careful of.
        closed_loop: Mean loss over the horizon on the selection runs (the task's unit); None if it was not run.
        diverged: How many of its selection runs diverged.
    """

    expression: Expression
    engine: str
    clamp: float
    r2_train: float
    r2_val: float
    r2_early: float
    r2_late: float
    r2_tensors: Mapping[str, float]
    r2_runs: tuple[float, ...] = ()
    refused: tuple[Reason, ...] = ()
    flagged: tuple[Reason, ...] = ()
    closed_loop: float | None = None
    diverged: int = 0

    @property
    def complexity(self) -> int:
        """Nodes of the tree: constants, operands (an average too) and operators count 1 each, PySR's default."""
        return self.expression.complexity

    @property
    def buffers(self) -> int:
        """Floats of state per parameter that the rule keeps."""
        return self.rule().buffers

    def rule(self, gain: float = 1.0, name: str = "symbolic") -> SymbolicRule:
        """The candidate as a rule that runs."""
        return SymbolicRule(self.expression, clamp=self.clamp, gain=gain, name=name)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data (numbers that are not finite become null); :meth:`from_json` reads it back."""
        scores = {name: _number(getattr(self, name)) for name in ("r2_train", "r2_val", "r2_early", "r2_late")}
        return {
            "expression": self.expression.to_json(),
            "formula": str(self.expression),
            "engine": self.engine,
            "complexity": self.complexity,
            "buffers": self.buffers,
            "clamp": self.clamp,
            **scores,
            "r2_tensors": {name: _number(value) for name, value in self.r2_tensors.items()},
            "r2_runs": [_number(value) for value in self.r2_runs],
            "refused": [reason.to_json() for reason in self.refused],
            "flagged": [reason.to_json() for reason in self.flagged],
            "closed_loop": None if self.closed_loop is None else _number(self.closed_loop),
            "diverged": self.diverged,
        }

    @classmethod
    def from_json(cls, data: object) -> Candidate:
        """Inverse of :meth:`to_json`.

        Raises:
            UserError: If a field is missing or of another type, or the expression is not valid.
        """
        fields = record(data, "a candidate")
        try:
            return cls(
                expression=Expression.from_json(fields["expression"]),
                engine=_text(fields["engine"]),
                clamp=_positive(fields["clamp"]),
                r2_train=_score(fields["r2_train"]),
                r2_val=_score(fields["r2_val"]),
                r2_early=_score(fields["r2_early"]),
                r2_late=_score(fields["r2_late"]),
                r2_tensors={str(k): _score(v) for k, v in record(fields["r2_tensors"], "r2_tensors").items()},
                r2_runs=tuple(_score(value) for value in _list(fields["r2_runs"], "r2_runs")),
                refused=_reasons(fields["refused"]),
                flagged=_reasons(fields["flagged"]),
                closed_loop=None if fields["closed_loop"] is None else _score(fields["closed_loop"]),
                diverged=int(_score(fields["diverged"])),
            )
        except KeyError as missing:
            raise UserError("a candidate lacks a field", value=missing.args[0], mend="distil again") from None


def assess(expression: Expression, train: Table, val: Table, engine: str) -> Candidate:
    """Re-scores and guards one formula: what an engine says of its own is never trusted."""
    clamp = train.y_limit
    on_train, on_val = predict(expression, train, clamp), predict(expression, val, clamp)

    def part(rows: NDArray[np.bool_]) -> float:
        return r2(val.y[rows], on_val[rows])

    candidate = Candidate(
        expression=expression,
        engine=engine,
        clamp=clamp,
        r2_train=r2(train.y, on_train),
        r2_val=r2(val.y, on_val),
        r2_early=part(val.period == EARLY),
        r2_late=part(val.period == LATE),
        r2_tensors={name: part(val.tensor == i) for i, name in enumerate(val.tensors)},
        r2_runs=tuple(part(val.run == run) for run in np.unique(val.run)),
    )
    verdict = inspect(candidate.rule(), train)
    return replace(candidate, refused=verdict.refused, flagged=verdict.flagged)


def predict(expression: Expression, table: Table, clamp: float) -> Floats:
    """The clamped formula on the rows of a table, ``[R]``."""
    value: Floats = expression.evaluate(table.columns()).expand(len(table.y)).clamp(-clamp, clamp).numpy()
    return value


def record(data: object, what: str) -> Mapping[str, Any]:
    """The fields of a JSON object.

    Raises:
        UserError: If ``data`` is not an object with text keys.
    """
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise UserError(f"{what} must be a JSON object", value=data, mend="give the file that the distillation wrote")
    return data


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _score(value: object) -> float:
    """A number; null stands for one that is not finite."""
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError("a score of a candidate must be a number", value=value, mend="distil again")
    return float(value)


def _positive(value: object) -> float:
    number = _score(value)
    if not (math.isfinite(number) and number > 0):
        raise UserError("the clamp of a candidate must be positive", value=value, mend="distil again")
    return number


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UserError("a name in a candidate must be text", value=value, mend="distil again")
    return value


def _list(data: object, what: str) -> list[Any]:
    if not isinstance(data, list):
        raise UserError(f"{what} of a candidate must be a list", value=data, mend="distil again")
    return data


def _reasons(data: object) -> tuple[Reason, ...]:
    records = [record(item, "a reason") for item in _list(data, "the reasons")]
    return tuple(Reason(_text(item.get("name")), _text(item.get("detail"))) for item in records)
