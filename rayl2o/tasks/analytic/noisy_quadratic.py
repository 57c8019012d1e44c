"""Ill-conditioned quadratics with gradient noise of known covariance, known optimum and known expected loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.analytic.orthogonal import haar
from rayl2o.tasks.analytic.quadratic import QuadraticBatch
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.instances import require_one_each, require_same
from rayl2o.tasks.named import NamedTask
from rayl2o.tasks.ranges import require_one_of, require_within
from rayl2o.tasks.specs import seeded_spec

SPECTRA = ("log-uniform", "two-point")
COVARIANCES = ("hessian", "isotropic")


@dataclass(frozen=True)
class NoisyQuadratic:
    """Random quadratics f(x) = 1/2 (x - x*)'H(x - x*) seen through noise; x0 and x* ~ N(0, 1), H in a Haar basis.

    The largest eigenvalue is 1, the smallest 1 / condition. A minibatch is a draw xi ~ N(0, S), and its loss is
    f(x) + xi'(x - x*): a stochastic loss like any other, whose gradient is grad f + xi and whose expectation is f. It may be
    negative near the optimum. With S = noise^2 H (Zhang et al. 2019, *Which algorithmic choices matter at which batch sizes?*,
    where noise^2 is 1 / batch size) its variance at x is 2 noise^2 f(x); with S = noise^2 I it is noise^2 |x - x*|^2.

    Attributes:
        size: n, the number of coordinates.
        condition: Largest over smallest eigenvalue.
        spectrum: ``log-uniform``: the others' logarithms are uniform in between; ``two-point``: half of them (rounded up) at the
            bottom and half at the top.
        noise: Scale of xi; 0 is a task without data.
        covariance: ``hessian`` or ``isotropic``.

    Raises:
        UserError: If a setting is out of range.
    """

    family: ClassVar[str] = "noisy-quadratic"

    size: int = 20
    condition: float = 1e3
    spectrum: str = "log-uniform"
    noise: float = 0.1
    covariance: str = "hessian"

    def __post_init__(self) -> None:
        require_within("noisy-quadratic.size", self.size, 2)
        require_within("noisy-quadratic.condition", self.condition, 1, 1e30)
        require_one_of("spectrum of noisy-quadratic", self.spectrum, SPECTRA)
        require_within("noisy-quadratic.noise", self.noise, 0)
        require_one_of("covariance of noisy-quadratic", self.covariance, COVARIANCES)

    @property
    def layout(self) -> Layout:
        """One vector of ``size`` coordinates."""
        return Layout.flat(self.size)

    def sample(self, generator: torch.Generator) -> TaskSpec:
        """A spec whose seed draws H and x*."""
        return seeded_spec(self, generator)

    def build(
        self, specs: Sequence[TaskSpec], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> NoisyQuadraticBatch:
        """K quadratics side by side, each drawn in float64 from its spec's seed.

        Raises:
            UserError: If a spec is not of this family with these settings.
        """
        require_same(self, specs)
        drawn = [_draw(self, spec.seed) for spec in specs]
        factors, optima = (torch.stack(parts).to(device, dtype) for parts in zip(*drawn, strict=True))
        clean = QuadraticBatch(self.layout, factors, optima)
        return NoisyQuadraticBatch(clean, self.noise, shaped=self.covariance == "hessian")


@dataclass(frozen=True, eq=False)
class NoisyQuadraticBatch:
    """K noisy quadratics; a minibatch is xi, ``[K, n]``.

    Attributes:
        clean: Without the noise.
        noise: Scale of xi.
        shaped: Whether its covariance is noise^2 H, else noise^2 I.
    """

    clean: QuadraticBatch
    noise: float
    shaped: bool

    @property
    def layout(self) -> Layout:
        """One vector."""
        return self.clean.layout

    @property
    def k(self) -> int:
        """Number of instances."""
        return self.clean.k

    @property
    def optimum(self) -> Tensor:
        """x*, ``[K, n]``, where the expected loss is 0."""
        return self.clean.optimum

    @property
    def covariance(self) -> Tensor:
        """Of xi, ``[K, n, n]``."""
        if self.shaped:
            return self.noise**2 * self.clean.hessian
        return self.noise**2 * torch.eye(self.layout.size).to(self.optimum).expand(self.k, -1, -1)

    def expected_loss(self, params: Tensor) -> Tensor:
        """f, ``[K]``, at ``params [K, n]``: the mean of ``loss`` over minibatches."""
        return self.clean.loss(params, None)

    def init_params(self, seeds: Sequence[int]) -> Tensor:
        """x0 ~ N(0, 1), ``[K, n]``, row k from ``seeds[k]``."""
        return self.clean.init_params(seeds)

    def draw_batch(self, seeds: Sequence[int]) -> Tensor | None:
        """xi, ``[K, n]``, row k from ``seeds[k]``; None without noise."""
        require_one_each(seeds, self.k)
        if self.noise == 0:
            return None
        drawn = [torch.randn(self.layout.size, generator=seeded("batch", s), dtype=torch.float64) for s in seeds]
        white = torch.stack(drawn).mul_(self.noise).to(self.optimum)
        return (self.clean.factor.mT @ white.unsqueeze(-1)).squeeze(-1) if self.shaped else white

    def loss_and_grad(self, params: Tensor, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        """Losses ``[K]`` and gradients ``[K, n]``; no graph."""
        losses, grads = self.clean.loss_and_grad(params, None)
        if batch is None:
            return losses, grads
        with torch.no_grad():
            return losses + self._tilt(params, batch), grads + batch

    def hvp(self, params: Tensor, batch: Tensor | None, vector: Tensor) -> Tensor:  # noqa: ARG002
        """H times ``vector [K, n]``, whatever the minibatch; no graph."""
        return self.clean.hvp(params, None, vector)

    def loss(self, params: Tensor, batch: Tensor | None) -> Tensor:
        """Losses ``[K]``, differentiable twice in ``params [K, n]``."""
        losses = self.clean.loss(params, None)
        return losses if batch is None else losses + self._tilt(params, batch)

    def _tilt(self, params: Tensor, batch: Tensor) -> Tensor:
        """xi'(x - x*), ``[K]``."""
        return (batch * (params - self.optimum)).sum(1)


def _draw(family: NoisyQuadratic, seed: int) -> tuple[Tensor, Tensor]:
    """R ``[n, n]`` with R'R = H, and x* ``[n]``, of one quadratic, float64."""
    rng = seeded(NoisyQuadratic.family, seed)
    n = family.size
    depth = torch.rand(n, generator=rng, dtype=torch.float64)  # 0 at the largest eigenvalue, 1 at the smallest
    depth[0], depth[-1] = 1.0, 0.0
    if family.spectrum == "two-point":
        depth = (torch.arange(n) < (n + 1) // 2).double()
    root = torch.exp(-math.log(family.condition) / 2 * depth)
    optimum = torch.randn(n, generator=rng, dtype=torch.float64)
    return root.unsqueeze(1) * haar(n, n, rng).T, optimum


NAMED: Mapping[str, NamedTask] = MappingProxyType(
    {
        "noisy-quadratic": NamedTask(
            "noisy-quadratic",
            {},
            "Quadratic of condition 1,000 with gradient noise of covariance 0.01 H, known optimum",
        ),
        "ill-conditioned-quadratic": NamedTask(
            "noisy-quadratic",
            {"noise": 0.0},
            "Quadratic of condition 10,000 without noise, known optimum",
            defaults={"condition": 1e4},
        ),
    }
)
