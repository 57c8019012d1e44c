"""Instances of different families or sizes side by side: params are padded to the longest, and each part keeps to its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.tasks.base import Batch, TaskBatch, TaskSpec
from rayl2o.tasks.instances import require_one_each


@dataclass(frozen=True)
class Part:
    """Instances that are built together.

    Attributes:
        members: Their row numbers among all K.
        tasks: They themselves.
    """

    members: tuple[int, ...]
    tasks: TaskBatch


@dataclass(frozen=True, eq=False)
class MixedBatch:
    """K instances in parts of equal families and settings. Coordinates beyond an instance's own are 0 at the start and have
    gradient 0, so a coordinate-wise rule does with them what it does with dead ones, and nobody sees it.

    Attributes:
        parts: They cover the K rows, each once.
    """

    parts: tuple[Part, ...]

    @cached_property
    def k(self) -> int:
        """Number of instances."""
        return sum(len(part.members) for part in self.parts)

    @cached_property
    def layout(self) -> Layout:
        """One vector, as long as the largest instance: the tensors of the parts differ."""
        return Layout.flat(max(part.tasks.layout.size for part in self.parts))

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """Fresh params ``[K, D]``, row k from ``seeds[k]``, padded with 0."""
        require_one_each(seeds, self.k)
        return self._rows([part.tasks.init_params(_pick(seeds, part)) for part in self.parts])

    def draw_batch(self, seeds: Sequence[int]) -> tuple[Batch, ...]:
        """A minibatch per part."""
        require_one_each(seeds, self.k)
        return tuple(part.tasks.draw_batch(_pick(seeds, part)) for part in self.parts)

    def loss_and_grad(self, params: Tensor, batch: tuple[Batch, ...]) -> tuple[Tensor, Tensor]:
        """Losses ``[K]`` and gradients ``[K, D]``; no graph."""
        found = [
            part.tasks.loss_and_grad(self._own(params, part), one) for part, one in zip(self.parts, batch, strict=True)
        ]
        return self._scalars([loss for loss, _ in found]), self._rows([grad for _, grad in found])

    def hvp(self, params: Tensor, batch: tuple[Batch, ...], vector: Tensor) -> Tensor:
        """Hessian-vector products ``[K, D]``; no graph."""
        return self._rows(
            [
                part.tasks.hvp(self._own(params, part), one, self._own(vector, part))
                for part, one in zip(self.parts, batch, strict=True)
            ]
        )

    def loss(self, params: Tensor, batch: tuple[Batch, ...]) -> Tensor:
        """Losses ``[K]``, differentiable twice in ``params [K, D]``."""
        return self._scalars(
            [part.tasks.loss(self._own(params, part), one) for part, one in zip(self.parts, batch, strict=True)]
        )

    @cached_property
    def _order(self) -> Tensor:
        """Where row k stands when the parts are concatenated."""
        return torch.tensor([row for part in self.parts for row in part.members]).argsort()

    def _own(self, values: Tensor, part: Part) -> Tensor:
        """Rows and coordinates of a part, ``[m, d]``."""
        return values[list(part.members), : part.tasks.layout.size]

    def _scalars(self, parts: list[Tensor]) -> Tensor:
        joined = torch.cat(parts)
        return joined[self._order.to(joined.device)]

    def _rows(self, parts: list[Tensor]) -> Tensor:
        """``[m, d]`` each to ``[K, D]``, padded with 0."""
        size = self.layout.size
        return self._scalars([torch.nn.functional.pad(part, (0, size - part.shape[1])) for part in parts])


def build_mixed(specs: Sequence[TaskSpec], build: Callable[[list[TaskSpec]], TaskBatch]) -> TaskBatch:
    """K instances of any specs: as ``build`` makes them where all are alike, else a :class:`MixedBatch` of such parts.

    Args:
        specs: Of any families and settings.
        build: Makes the instances of specs of one family with one set of settings.
    """
    groups: dict[str, list[int]] = {}
    for row, spec in enumerate(specs):
        groups.setdefault(json.dumps([spec.family, dict(spec.settings)], sort_keys=True), []).append(row)
    if len(groups) == 1:
        return build(list(specs))
    return MixedBatch(tuple(Part(tuple(rows), build([specs[row] for row in rows])) for rows in groups.values()))


def _pick(seeds: Sequence[int], part: Part) -> list[int]:
    return [seeds[row] for row in part.members]
