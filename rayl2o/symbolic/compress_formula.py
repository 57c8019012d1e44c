"""A filter compressed and measured: by its impulse response, and with the weights fitted again on a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.symbolic.candidate import predict
from rayl2o.symbolic.compress import STATES, compress
from rayl2o.symbolic.compress_table import Compressed, Cut, scored, tables_for
from rayl2o.symbolic.filters import FilterTerm, filter_of, filter_terms
from rayl2o.symbolic.linear import least_squares
from rayl2o.symbolic.metrics import r2
from rayl2o.symbolic.table import Floats, Table


def compressed_formula(
    expression: Expression, train: Table, val: Table, states: Sequence[int] = STATES, cut: Cut | None = None
) -> tuple[Compressed, ...]:
    """A linear or tanh filter over lags with 1 or 2 averages per signal, each as its response says and with fitted weights.

    Those whose response makes a signal ascend are left out; if none remains, the last refusal is raised.

    Args:
        expression: As :func:`~rayl2o.symbolic.compress.compress` takes it; its operands are columns of the tables.
        train, val: Of the rule that the filter stands for.
        states: Averages per signal to try.
        cut: As in :func:`~rayl2o.symbolic.compress_table.compressed`; without it averages are made of the tables' lags.

    Raises:
        UserError: If it is no filter, a column is missing, or every compression is refused.
    """
    full_r2 = r2(val.y, predict(expression, val, train.y_limit))
    found: list[Compressed] = []
    refusal: UserError | None = None
    for count in states:
        try:
            compression = compress(expression, count)
        except UserError as error:
            refusal = error
            continue
        tables = tables_for(compression.expression.operands, train, val, cut)
        before = {signal: gain for signal, (gain, _) in compression.gains.items()}
        errors = {signal: decay.error for signal, decay in compression.decays.items()}
        found.append(scored(compression.expression, *tables, full_r2, before, errors))
        found.append(scored(refitted(compression.expression, tables[0]), *tables, full_r2, before))
    if not found and refusal is not None:
        raise refusal
    return tuple(found)


def refitted(expression: Expression, table: Table) -> Expression:
    """The filter with the weights, not the gammas, of least squares on the rows.

    Raises:
        UserError: If the formula is no filter.
    """
    terms = filter_terms(expression)
    if not terms:
        raise UserError("only a filter can be fitted", value=str(expression), mend="give sums of c*s or c*tanh(k*s)")
    columns = np.column_stack([_column(term, table) for term in terms])
    spread = np.sqrt((columns**2).mean(0))
    spread[spread == 0.0] = 1.0
    weights = least_squares(columns / spread, table.y) / spread
    return filter_of(replace(term, weight=float(weight)) for term, weight in zip(terms, weights, strict=True))


def _column(term: FilterTerm, table: Table) -> Floats:
    value = table.x[:, table.operands.index(term.operand)]
    return np.asarray(value if term.inner is None else np.tanh(term.inner * value), dtype=np.float64)
