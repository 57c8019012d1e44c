"""Softmax regression on small real tables: convex, with data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.tasks.analytic.composite import CompositeBatch
from rayl2o.tasks.analytic.tabular import TABLE_SPLITS, TABLES, load_table, table_info
from rayl2o.tasks.analytic.terms import Ridge
from rayl2o.tasks.base import TaskBatch, TaskSpec
from rayl2o.tasks.instances import require_same
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.networks.activation import ACTIVATIONS
from rayl2o.tasks.networks.dense_layout import dense_layout
from rayl2o.tasks.networks.full_batch import FullBatch, all_examples
from rayl2o.tasks.networks.mlp_batch import MLPBatch
from rayl2o.tasks.ranges import require_one_of, require_within
from rayl2o.tasks.specs import only_spec


@dataclass(frozen=True)
class LogisticRegression:
    """Softmax regression on a real table that comes with scikit-learn: mean cross entropy in nats per row, plus 1/2 l2 |W|^2.

    The penalty is on the weights, not on the biases, as scikit-learn has it: its C is 1 / (l2 N). Columns are standardised, so
    the problem is well scaled but for the correlations among columns.

    Attributes:
        data: ``breast_cancer``, ``iris`` or ``wine``.
        batch_size: B, rows per minibatch, drawn with replacement; 0 takes all rows at every step.
        l2: Strength of the penalty.
        init_std: Weights and biases start from N(0, init_std^2).
        split: ``all``, or the part ``train`` or ``test`` of a fixed division.

    Raises:
        UserError: If a name is unknown or a setting out of range.
    """

    family: ClassVar[str] = "logistic-regression"

    data: str = "breast_cancer"
    batch_size: int = 0
    l2: float = 1e-3
    init_std: float = 0.01
    split: str = "all"

    def __post_init__(self) -> None:
        table_info(self.data)
        require_within("logistic-regression.batch_size", self.batch_size, 0)
        require_within("logistic-regression.l2", self.l2, 0)
        require_within("logistic-regression.init_std", self.init_std, 0)
        require_one_of("split", self.split, TABLE_SPLITS)

    @property
    def layout(self) -> Layout:
        """``layer_0.weight [features, classes]`` and ``layer_0.bias [classes]``; reads no data."""
        table = TABLES[self.data]
        return dense_layout((table.features, table.classes))

    def sample(self, generator: torch.Generator) -> TaskSpec:  # noqa: ARG002
        """The one task of this family; nothing is drawn."""
        return only_spec(self)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> TaskBatch:
        """K classifiers side by side on one copy of the table.

        Raises:
            UserError: If a spec is not of this family with these settings.
        """
        require_same(self, specs)
        data = load_table(self.data, self.split, device=device, dtype=dtype)
        examples, features = data.inputs.shape
        tasks: TaskBatch = MLPBatch(
            layout=self.layout,
            k=len(specs),
            data=data,
            activation=ACTIVATIONS["sigmoid"],  # there is no hidden layer to use it
            batch_size=self.batch_size or examples,
            init_std=self.init_std,
        )
        if self.batch_size == 0:
            row_bytes = (features + data.classes) * dtype.itemsize
            tasks = FullBatch(tasks, all_examples(len(specs), examples, row_bytes, device))
        return CompositeBatch(tasks, Ridge(self._strength(data.inputs))) if self.l2 else tasks

    def _strength(self, like: Tensor) -> Tensor:
        """l2 for weights and 0 for biases, ``[D]``."""
        weights, biases = self.layout.sizes
        return torch.cat((like.new_full((weights,), self.l2), like.new_zeros(biases)))


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        f"logistic-regression-{data.replace('_', '-')}": NamedTask(
            "logistic-regression",
            {"data": data},
            f"Softmax regression on {data}: {table.examples} rows, {table.features} columns, {table.classes} classes",
        )
        for data, table in TABLES.items()
    }
)
