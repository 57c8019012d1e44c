"""Type-II maximum likelihood: the hyperparameters of a Gaussian process, from the evidence of its observations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.autograd_batch import AutogradBatch
from rayl2o.tasks.base import Batch, TaskSpec
from rayl2o.tasks.instances import normal_rows, require_one_each, require_same
from rayl2o.tasks.settings import to_settings


@dataclass(frozen=True)
class GPEvidence:
    """Hyperparameters of a Gaussian process with one length scale per input (ARD), by its evidence.

    The covariance is s^2 exp(-1/2 sum_d (x_d - x'_d)^2 / l_d^2) + (sigma^2 + floor^2) [x = x'], the loss
    (y' C^-1 y + log det C) / (2 n) - log floor: the negative log evidence per observation in nats, up to a constant that
    makes 0 a lower bound. A task draws inputs in the unit cube, its own hyperparameters, and observations from that process.
    Not convex: long length scales with much noise explain what short ones with little noise do. Rasmussen & Williams,
    "Gaussian Processes for Machine Learning", equations 5.1, 5.8 and 5.9.

    Attributes:
        observations: n.
        inputs: Length scales to find; the params are their logarithms, log s and log sigma.
        floor: Least standard deviation of the noise.

    Raises:
        UserError: If a setting is out of range.
    """

    family: ClassVar[str] = "gp-evidence"

    observations: int = 32
    inputs: int = 3
    floor: float = 0.1

    def __post_init__(self) -> None:
        for name in ("observations", "inputs"):
            if getattr(self, name) < 1:
                mend = "use 1 or more"
                raise UserError(f"setting gp-evidence.{name} is too small", value=getattr(self, name), mend=mend)
        if not 1e-3 <= self.floor <= 1:
            raise UserError("setting gp-evidence.floor is out of range", value=self.floor, mend="use 0.001 to 1")

    @property
    def layout(self) -> Layout:
        """Three tensors, ``inputs + 2`` coordinates."""
        names = ("log_length_scales", "log_signal", "log_noise")
        return Layout(names, ((self.inputs,), (), ()), ("weight", "scalar", "scalar"), (0, 0, 0))

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A spec whose seed draws inputs, hyperparameters and observations."""
        return TaskSpec(self.family, to_settings(self), int(torch.randint(2**63 - 1, (), generator=generator)))

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> GPEvidenceBatch:
        """K processes side by side.

        Raises:
            UserError: If a spec is not of this family with these settings.
        """
        require_same(self, specs)
        drawn = [_draw(self, spec.seed) for spec in specs]
        inputs, targets = (torch.stack(parts).to(device) for parts in zip(*drawn, strict=True))
        squares = (inputs.unsqueeze(2) - inputs.unsqueeze(1)).square().movedim(-1, 1)
        return GPEvidenceBatch(self, squares, targets, dtype)


@dataclass(frozen=True, eq=False)
class GPEvidenceBatch:
    """K processes. What is ill-conditioned is computed in float64, whatever the dtype of params and gradients.

    Attributes:
        settings: Their family.
        squares: (x_d - x'_d)^2, float64 ``[K, d, n, n]``.
        targets: y, float64 ``[K, n]``.
        dtype: Of params, losses and gradients.
    """

    settings: GPEvidence
    squares: Tensor
    targets: Tensor
    dtype: torch.dtype

    @property
    def layout(self) -> Layout:
        """That of the family."""
        return self.settings.layout

    @property
    def k(self) -> int:
        """Number of instances."""
        return self.targets.shape[0]

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """N(0, 0.5^2) ``[K, D]``, row k from ``seeds[k]``: scales about those of the cube and of the observations."""
        require_one_each(seeds, self.k)
        return normal_rows(seeds, self.layout.size, 0.5).to(self.targets.device, self.dtype)

    def draw_batch(self, seeds: Sequence[int]) -> Batch:
        """None: the evidence is that of all observations."""
        require_one_each(seeds, self.k)
        return None

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Losses ``[K]`` and gradients ``[K, D]``, by hand: 1/2 tr((C^-1 - a a') dC) with a = C^-1 y; no graph."""
        with torch.no_grad():
            theta = params.double()
            signal, noise, factor = self._covariance(theta)
            inverse = torch.cholesky_inverse(factor)
            weights = (inverse @ self.targets.unsqueeze(-1)).squeeze(-1)
            inner = inverse - weights.unsqueeze(2) * weights.unsqueeze(1)
            scales = (self.squares * (inner * signal).unsqueeze(1)).sum((2, 3)) * torch.exp(-2 * theta[:, :-2])
            amplitude = 2 * (inner * signal).sum((1, 2))
            diagonal = 2 * noise * inner.diagonal(dim1=1, dim2=2).sum(1)
            grad = torch.cat([scales, amplitude.unsqueeze(1), diagonal.unsqueeze(1)], 1) / (2 * self.targets.shape[1])
            return self._losses(factor).to(self.dtype), grad.to(self.dtype)

    def hvp(self, params: Tensor, batch: Batch, vector: Tensor) -> Tensor:
        """Hessian-vector products ``[K, D]``, by autograd through :meth:`loss`; no graph."""
        return AutogradBatch(self.layout, self.k, self.loss, self.init_params).hvp(params, batch, vector)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002
        """Losses ``[K]``, differentiable twice in ``params [K, D]``."""
        return self._losses(self._covariance(params.double())[2]).to(self.dtype)

    def _covariance(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The signal's part of C ``[K, n, n]``, sigma^2 ``[K]``, and C's Cholesky factor, NaN where there is none.

        ``cholesky`` would raise for all K instances where the params of one are NaN.
        """
        distance = (self.squares * torch.exp(-2 * theta[:, :-2, None, None])).sum(1)
        signal = torch.exp(2 * theta[:, -2, None, None] - distance / 2)
        noise = torch.exp(2 * theta[:, -1])
        unit = torch.eye(signal.shape[1], dtype=signal.dtype, device=signal.device)
        total = signal + (noise + self.settings.floor**2)[:, None, None] * unit
        factor, failed = torch.linalg.cholesky_ex(total)
        return signal, noise, torch.where(failed[:, None, None] == 0, factor, math.nan)

    def _losses(self, factor: Tensor) -> Tensor:
        """From the Cholesky factors ``[K, n, n]``."""
        whitened = torch.linalg.solve_triangular(factor, self.targets.unsqueeze(-1), upper=False)
        half_log_det = factor.diagonal(dim1=1, dim2=2).log().sum(1)
        total: Tensor = whitened.square().sum((1, 2)) / 2 + half_log_det
        return total / self.targets.shape[1] - math.log(self.settings.floor)


def _draw(family: GPEvidence, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs ``[n, d]`` and observations ``[n]``, float64, of a process with length scales about 0.4, of which some inputs
    hardly matter, a signal about 1 and noise about 0.2.
    """
    rng = seeded("gp-evidence", seed)
    inputs = torch.rand(family.observations, family.inputs, generator=rng, dtype=torch.float64)
    scales = 0.4 * torch.exp(torch.randn(family.inputs, generator=rng, dtype=torch.float64))
    signal, noise = torch.exp(0.3 * torch.randn(2, generator=rng, dtype=torch.float64)).unbind()
    distance = ((inputs.unsqueeze(1) - inputs) / scales).square().sum(-1)
    unit = torch.eye(family.observations, dtype=torch.float64)
    covariance = signal**2 * torch.exp(-distance / 2) + ((0.2 * noise) ** 2 + family.floor**2) * unit
    white = torch.randn(family.observations, generator=rng, dtype=torch.float64)
    observations: Tensor = torch.linalg.cholesky(covariance) @ white
    return inputs, observations
