"""The four tables of a distillation: rows to fit, to choose by, to report only, and to report with stretched gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from rayl2o.rules.base import Rule
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.engines.base import Pmap
from rayl2o.symbolic.recording import collect_all, stretched
from rayl2o.symbolic.runs import Runs
from rayl2o.symbolic.table import Table, make_table, operands_of
from rayl2o.symbolic.trajectories import Trajectories
from rayl2o.tasks.base import TaskFamily

STRETCH = 3.0
"""Factor on the gradients of the stretched rows."""


@dataclass(frozen=True)
class Tables:
    """Tables of the same operands, from runs that share no draw.

    Attributes:
        train: Rows that are fitted.
        val: Rows that choose: what enters the front, how far constants are rounded.
        test: Rows that decide nothing; reported. None: the validation rows stand in.
        stretched: The test rows with all gradients times :data:`STRETCH`, and the rule's answers to those; None for a rule that
            cannot be asked.
    """

    train: Table
    val: Table
    test: Table | None = None
    stretched: Table | None = None


@dataclass(frozen=True)
class Recorded:
    """Tables, and the trajectories from which the test rows are drawn (measures are taken on them)."""

    tables: Tables
    trajectories: Trajectories


def record(
    rule: Rule, phi: Mapping[str, Tensor], family: TaskFamily, config: DistillConfig, pmap: Pmap = map
) -> Recorded:
    """Runs the rule on the runs of three roles and cuts the tables.

    Args:
        rule, phi: A coordinate-wise rule with its weights.
        family: Tasks on which it is recorded.
        config: Seed, horizon, numbers of runs, operands and rows.
        pmap: Runs the parts of each role, in order; the record does not depend on it.

    Raises:
        UserError: If the rule is not coordinate-wise, diverges at once, or its answer is constant.
    """
    operands = operands_of(rule.kind, config.mode, config.signals, config.betas, config.lags)
    records = {
        role: collect_all(
            rule,
            phi,
            Runs(family, config.seed, role, getattr(config, role)),
            config.horizon,
            config.per_tensor,
            config.seed,
            pmap,
        )
        for role in ("collect", "validate", "test")
    }
    train, val, test = (
        make_table(part, operands, config.rows, config.seed, config.sampling) for part in records.values()
    )
    far = stretched(rule, phi, records["test"], STRETCH)
    answers = far is not None and bool(far.delta.isfinite().all()) and float(far.delta.std()) > 0
    beyond = make_table(far, operands, config.rows, config.seed, config.sampling) if far and answers else None
    return Recorded(Tables(train, val, test, beyond), records["test"])
