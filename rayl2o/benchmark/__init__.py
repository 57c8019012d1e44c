"""Published figures, each beside a rival of the same run. ``benchmarks/`` runs them and keeps the results; ``rayl2o bench NAME``
prints them. One thread; workloads are fixed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rayl2o.benchmark.compiling import compile_rows
from rayl2o.benchmark.estimators import estimator_rows
from rayl2o.benchmark.full_unroll import full_unroll_rows
from rayl2o.benchmark.meta_gradient import gap_rows, meta_gradient_rows, segment_rows
from rayl2o.benchmark.row import Row
from rayl2o.benchmark.sr_engines import sr_engines_rows
from rayl2o.benchmark.sr_l2o import l2o_rows
from rayl2o.benchmark.sr_table1 import sr_table1_rows
from rayl2o.benchmark.tasks import task_rows

__all__ = ["BENCHMARKS", "Row"]

BENCHMARKS: Mapping[str, Callable[[], list[Row]]] = MappingProxyType(
    {
        "meta-gradient": meta_gradient_rows,
        "first-order-gap": gap_rows,
        "estimators": estimator_rows,
        "compile": compile_rows,
        "full-unroll": full_unroll_rows,
        "segment": segment_rows,
        "tasks": task_rows,
        "sr-table1": sr_table1_rows,
        "sr-engines": sr_engines_rows,
        "sr-l2o": l2o_rows,
    }
)
