"""A distribution of multilayer perceptrons: depth, widths, activation, batch size and examples are drawn for each task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskBatch, TaskSpec
from rayl2o.tasks.mixed_batch import build_mixed
from rayl2o.tasks.networks.mlp import MLP
from rayl2o.tasks.settings import from_settings


@dataclass(frozen=True)
class RandomMLP:
    """Random multilayer perceptrons; a spec that is drawn is one of family ``mlp`` and leaves no trace of its ranges.

    A range is a list of its smallest and largest value. There is no common layout: tasks of different sizes are built as one
    batch that is padded to the longest.

    Attributes:
        data: A data set of docs/data.md.
        split: One of docs/data.md.
        depths: Range of the number of hidden layers, uniform.
        widths: Range of a hidden layer's width, log-uniform, each layer on its own.
        activations: Names of activations with commas between them, uniform.
        batch_sizes: Range of B, log-uniform.
        examples: Range of the number of examples, log-uniform, which the spec's seed then picks; empty for all of the split.
        init_std: Of all weights and biases.
        centre: Subtracted from the inputs.

    Raises:
        UserError: If a range is no range, or a name is unknown or a number is out of range for the family ``mlp``.
    """

    family: ClassVar[str] = "random-mlp"

    data: str = "digits"
    split: str = "train"
    depths: tuple[int, ...] = (1, 3)
    widths: tuple[int, ...] = (8, 64)
    activations: str = "sigmoid,relu,tanh"
    batch_sizes: tuple[int, ...] = (32, 256)
    examples: tuple[int, ...] = ()
    init_std: float = 0.01
    centre: float = 0.0

    def __post_init__(self) -> None:
        _require_range("depths", self.depths, 0)
        _require_range("widths", self.widths, 1)
        _require_range("batch_sizes", self.batch_sizes, 1)
        if self.examples:
            _require_range("examples", self.examples, 1)
        for activation in self._activations():  # the family of what is drawn checks everything else
            MLP(self.data, (), activation, 1, self.init_std, self.split, self.centre)

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A spec of family ``mlp`` with concrete settings."""
        names = self._activations()
        depth = self.depths[0] + _index(self.depths[1] - self.depths[0] + 1, generator)
        return MLP(
            data=self.data,
            hidden=tuple(_log_uniform(self.widths, generator) for _ in range(depth)),
            activation=names[_index(len(names), generator)],
            batch_size=_log_uniform(self.batch_sizes, generator),
            init_std=self.init_std,
            split=self.split,
            centre=self.centre,
            examples=_log_uniform(self.examples, generator) if self.examples else 0,
        ).sample(generator)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> TaskBatch:
        """K instances of what was drawn, padded to the longest if their settings differ.

        Raises:
            UserError: If a spec is not of family ``mlp``, or as for :meth:`MLP.build`.
        """
        for spec in specs:
            if spec.family != MLP.family:
                mend = f"build what its sample() gives, of family {MLP.family!r}"
                raise UserError(f"a spec that {self.family!r} does not draw", value=spec.family, mend=mend)

        def build_alike(alike: list[TaskSpec]) -> TaskBatch:
            family: MLP = from_settings(MLP, alike[0].settings, MLP.family)
            return family.build(alike, device, dtype)

        return build_mixed(specs, build_alike)

    def _activations(self) -> list[str]:
        return [name.strip() for name in self.activations.split(",")]


def _require_range(setting: str, values: tuple[int, ...], least: int) -> None:
    if len(values) != 2 or not least <= values[0] <= values[1]:
        mend = f"give two integers, smallest and largest, of {least} or more"
        raise UserError(f"setting random-mlp.{setting} is no range", value=values, mend=mend)


def _index(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _log_uniform(bounds: tuple[int, ...], generator: torch.Generator) -> int:
    """An integer of the range, such that its logarithm is uniform as far as integers can be."""
    low, high = bounds[0], bounds[1] + 1
    point = float(torch.rand((), generator=generator, dtype=torch.float64))
    return min(int(low * math.exp(point * math.log(high / low))), bounds[1])
