"""One formula and all that is known of it: re-scored by us, guarded, written and read as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.guards import Reason, inspect
from rayl2o.symbolic.metrics import r2
from rayl2o.symbolic.sampling import EARLY, LATE
from rayl2o.symbolic.table import Floats, Table


@dataclass(frozen=True)
class Candidate:
    """One formula and what is known of it. All R2 are of the clamped formula on the rows named.

    Attributes:
        expression: In the rule's own units: the displacement, scales folded back.
        engine: Who found it.
        clamp: max |y| of the training trajectories; shipped with the rule.
        r2_train, r2_val: On training rows; on validation rows, of other runs, which decide what enters the front.
        r2_early, r2_late: Of the reported rows (test rows, which decide nothing; validation rows where there are none), those of
            the early and of the late period.
        r2_tensors: Of the reported rows, by tensor.
        r2_runs: Of the reported rows, by run: a network may behave unlike itself in one of them.
        r2_test: On test rows; None if there are none.
        r2_stretched: On test rows with all gradients times 3, against the network's answers to those; None if there are none.
        refused: Why it must not be run; empty if it may.
        flagged: What to be careful of.
        closed_loop: Mean loss over the horizon on the selection runs (the task's unit); None if it was not run.
        closed_loop_runs: The same run by run: its spread.
        diverged: How many of its selection runs diverged.
        tpf: How far back it looks, in steps by signal (S, eq. 3); empty where it was not measured.
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
    r2_test: float | None = None
    r2_stretched: float | None = None
    closed_loop_runs: tuple[float, ...] = ()
    tpf: Mapping[str, float] = field(default_factory=dict)

    @property
    def r2(self) -> float:
        """What may be reported: on test rows, or on validation rows where there are none."""
        return self.r2_val if self.r2_test is None else self.r2_test

    @property
    def stable(self) -> bool:
        """Not refused, and no closed-loop run diverged."""
        return not self.refused and not self.diverged

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
            "r2_test": None if self.r2_test is None else _number(self.r2_test),
            "r2_stretched": None if self.r2_stretched is None else _number(self.r2_stretched),
            "closed_loop_runs": [_number(value) for value in self.closed_loop_runs],
            "tpf": {name: _number(value) for name, value in self.tpf.items()},
            "stable": self.stable,
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
                r2_test=_maybe(fields.get("r2_test")),
                r2_stretched=_maybe(fields.get("r2_stretched")),
                closed_loop_runs=tuple(
                    _score(v) for v in _list(fields.get("closed_loop_runs", []), "closed_loop_runs")
                ),
                tpf={str(k): _score(v) for k, v in record(fields.get("tpf", {}), "tpf").items()},
            )
        except KeyError as missing:
            raise UserError("a candidate lacks a field", value=missing.args[0], mend="distil again") from None


def assess(
    expression: Expression,
    train: Table,
    val: Table,
    engine: str,
    test: Table | None = None,
    stretched: Table | None = None,
) -> Candidate:
    """Re-scores and guards one formula: what an engine says of its own is never trusted."""
    candidate = scored(expression, train, val, engine, test, stretched)
    verdict = inspect(candidate.rule(), train)
    return replace(candidate, refused=verdict.refused, flagged=verdict.flagged)


def scored(
    expression: Expression,
    train: Table,
    val: Table,
    engine: str,
    test: Table | None = None,
    stretched: Table | None = None,
) -> Candidate:
    """The scores alone, nothing refused."""
    clamp = train.y_limit
    shown = val if test is None else test
    predicted = predict(expression, shown, clamp)

    def part(rows: NDArray[np.bool_]) -> float:
        return r2(shown.y[rows], predicted[rows])

    def of(table: Table) -> float:
        return r2(table.y, predict(expression, table, clamp))

    return Candidate(
        expression=expression,
        engine=engine,
        clamp=clamp,
        r2_train=of(train),
        r2_val=of(val),
        r2_early=part(shown.period == EARLY),
        r2_late=part(shown.period == LATE),
        r2_tensors={name: part(shown.tensor == i) for i, name in enumerate(shown.tensors)},
        r2_runs=tuple(part(shown.run == run) for run in np.unique(shown.run)),
        r2_test=None if test is None else r2(test.y, predicted),
        r2_stretched=None if stretched is None else of(stretched),
    )


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


def _maybe(value: object) -> float | None:
    return None if value is None else _score(value)


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
