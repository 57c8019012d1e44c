"""A small network that tells two interleaving half circles apart (paper R's third task)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import ClassVar

import torch

from rayl2o.layout import Layout
from rayl2o.tasks.analytic.composite import CompositeBatch
from rayl2o.tasks.analytic.terms import Norm
from rayl2o.tasks.base import TaskBatch, TaskSpec
from rayl2o.tasks.data import DataSet
from rayl2o.tasks.instances import require_same
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.networks.activation import ACTIVATIONS
from rayl2o.tasks.networks.dense_layout import dense_layout
from rayl2o.tasks.networks.full_batch import FullBatch, all_examples
from rayl2o.tasks.networks.glorot import glorot_rows
from rayl2o.tasks.networks.mlp_batch import MLPBatch
from rayl2o.tasks.networks.moons import moons
from rayl2o.tasks.networks.single_logit import SingleLogitBatch
from rayl2o.tasks.ranges import require_one_of, require_within
from rayl2o.tasks.specs import only_spec

VARIANTS = ("paper", "code")
PENALTY = 5e-3
"""Before the norm of all params, in the variant ``code``."""
_COORDINATES, _CLASSES = 2, 2


@dataclass(frozen=True)
class TwoMoons:
    """Two half circles told apart by a tanh network with one logit; full batch, so the task is deterministic.

    Loss: mean of log(1 + exp(z)) - y z, in nats per point. Weights start Glorot normal, biases N(0, 0.01^2) (stax's defaults).
    ``paper`` and ``code`` differ in a penalty: R's text has none, its code adds ``5e-3 |theta|``, the norm of all params and not
    its square, which keeps the loss away from 0 and pulls as hard near 0 as far from it. The points are the code's in both.

    Attributes:
        hidden: Widths of the hidden layers; none gives logistic regression.
        points: N; half of them, rounded down, on the upper half circle.
        noise: Standard deviation of what is added to the points.
        data_seed: Draws the points; R uses 0 and only ever samples the start.
        variant: ``paper`` or ``code``.

    Raises:
        UserError: If a setting is out of range.
    """

    family: ClassVar[str] = "two-moons"

    hidden: tuple[int, ...] = (64, 64, 64)
    points: int = 1024
    noise: float = 0.1
    data_seed: int = 0
    variant: str = "paper"

    def __post_init__(self) -> None:
        for width in self.hidden:
            require_within("two-moons.hidden", width, 1)
        require_within("two-moons.points", self.points, 2)
        require_within("two-moons.noise", self.noise, 0)
        require_within("two-moons.data_seed", self.data_seed, 0, 2**32 - 1)
        require_one_of("variant of two-moons", self.variant, VARIANTS)

    @property
    def layout(self) -> Layout:
        """``layer_i.weight [in, out]`` and ``layer_i.bias [out]``, from the two coordinates up to the logit."""
        return dense_layout((_COORDINATES, *self.hidden, 1))

    def sample(self, generator: torch.Generator) -> TaskSpec:  # noqa: ARG002
        """The one task of this family; nothing is drawn."""
        return only_spec(self)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> TaskBatch:
        """K networks side by side on one copy of the points.

        Raises:
            UserError: If a spec is not of this family with these settings.
        """
        require_same(self, specs)
        points = _data(self.points, self.noise, self.data_seed)
        data = DataSet(points.inputs.to(device, dtype), points.labels.to(device), _CLASSES)
        softmax = MLPBatch(
            layout=dense_layout((_COORDINATES, *self.hidden, _CLASSES)),
            k=len(specs),
            data=data,
            activation=ACTIVATIONS["tanh"],
            batch_size=self.points,
            init_std=0.0,
        )
        layout = self.layout
        single = SingleLogitBatch(layout, softmax, lambda seeds: glorot_rows(layout, seeds).to(device, dtype))
        activation_bytes = (_COORDINATES + sum(self.hidden) + _CLASSES) * dtype.itemsize
        full = FullBatch(single, all_examples(len(specs), self.points, activation_bytes, device))
        return CompositeBatch(full, Norm(PENALTY)) if self.variant == "code" else full


@lru_cache(maxsize=4)
def _data(points: int, noise: float, seed: int) -> DataSet:
    """float64."""
    inputs, labels = moons(points, noise, seed)
    return DataSet(torch.from_numpy(inputs), torch.from_numpy(labels), _CLASSES)


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "two-moons": NamedTask("two-moons", {}, "Two moons of R: 2-64-64-64-1, tanh, 1,024 points", paper="R"),
        "two-moons-small": NamedTask(
            "two-moons", {"hidden": (16, 16)}, "Two moons by 2-16-16-1, tanh", paper="R", twin_of="two-moons"
        ),
    }
)
