"""The protocols of an optimizee: sample a description (data), build the object later, K instances side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from rayl2o.layout import Layout

Batch = Any  # opaque to everyone but the TaskBatch that drew it; None where a task has no data


@dataclass(frozen=True)
class TaskSpec:
    """A task as plain data: it crosses processes, goes into every trajectory row, and rebuilds the task next year.

    Attributes:
        family: Registered name of the family that builds it.
        settings: JSON-able settings of that family.
        seed: Draws whatever is random in the task itself (not the initialisation, not the batches).
    """

    family: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data; :meth:`from_json` reads it back."""
        return {"family": self.family, "settings": dict(self.settings), "seed": self.seed}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskSpec:
        """Inverse of :meth:`to_json`."""
        return cls(str(data["family"]), dict(data["settings"]), int(data["seed"]))


class TaskBatch(Protocol):
    """K instances of one family with the same layout, optimized side by side.

    All losses are in the task's own unit (nats per example for classifiers). Instances never mix: row k of every result
    depends on row k of the arguments only. Nothing here mutates its arguments or hidden buffers.
    """

    @property
    def layout(self) -> Layout:
        """How the D coordinates are cut into tensors."""

    @property
    def k(self) -> int:
        """Number of instances."""

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """Fresh params ``[K, D]``, row k from ``seeds[k]``."""

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        """A minibatch per instance, row k from ``seeds[k]``; equal seeds give equal minibatches. None if there is no data."""

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses ``[K]`` and gradients ``[K, D]`` at ``params [K, D]``; no autograd graph is built."""

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:
        """Hessian-vector products ``[K, D]`` of each instance's loss with ``vector [K, D]``; no graph."""

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        """Losses ``[K]``, twice differentiable in ``params [K, D]`` by autograd (for ``bptt`` and as oracle)."""


@runtime_checkable
class TaskFamily(Protocol):
    """A distribution of tasks; a frozen dataclass whose fields are its settings."""

    @property
    def family(self) -> str:
        """Registered name, as it stands in :class:`TaskSpec`."""

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """Draws one task as data."""

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> TaskBatch:
        """Builds K = len(specs) instances side by side; ``dtype`` is that of params, gradients and data.

        Raises:
            UserError: If a spec is not of this family or the specs have different layouts.
        """
