"""Perturbed weights of evolution strategies: drawn from seeds in antithetic pairs, and the gradient that their losses give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.base import Phi
from rayl2o.seeds import generator
from rayl2o.unroll.ticket import Ticket


@dataclass(frozen=True)
class EvolutionConfig:
    """Settings of the estimators ``es`` and ``pes``.

    Attributes:
        sigma: Standard deviation of the perturbation of every weight (phi's own unit). The estimate is of the gradient of the
            objective smoothed by it, so a larger one brings bias where the objective is curved, a smaller one rounding noise.
        particles: P, particles of each instance; even, because they come in antithetic pairs. All P share the instance's task,
            start and minibatches. P = 2 and more ``instances`` gives every pair a task of its own, which is less noisy.
        chunk: Particles at a time in the rule's update, against memory; 0 for all. Changes the numbers by rounding only.

    Raises:
        UserError: If a setting is out of range.
    """

    sigma: float = 0.01
    particles: int = 16
    chunk: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.sigma < math.inf:
            raise UserError(
                "evolution.sigma out of range", value=self.sigma, mend="give a finite number > 0, e.g. 0.01"
            )
        if self.particles < 2 or self.particles % 2:
            raise UserError(
                "evolution.particles must be even and at least 2: they come in pairs",
                value=self.particles,
                mend="e.g. 16",
            )
        if self.chunk < 0:
            raise UserError("evolution.chunk must not be negative", value=self.chunk, mend="use 0 for all at once")


def draw_noise(config: EvolutionConfig, ticket: Ticket, segment: int, phi: Mapping[str, Tensor]) -> Tensor:
    """Standard normal ``[K P / 2, N]`` in phi's dtype, one row per pair; N weights in the order of their sorted names.

    It is determined by the run's seed, the slot, the ordinal and the segment: it need be neither kept nor sent.
    """
    pairs = len(ticket.specs) * config.particles // 2
    weights = sum(value.numel() for value in phi.values())
    like = next(iter(phi.values()))
    draws = generator(ticket.run_seed, "perturb", ticket.slot, ticket.ordinal, segment)
    return torch.randn(pairs, weights, generator=draws, dtype=like.dtype).to(like.device)


def perturb(phi: Mapping[str, Tensor], noise: Tensor, sigma: float) -> Phi:
    """Weights of every particle, ``[2 pairs, ...]`` by name: row 2 i is ``phi + sigma noise[i]``, row 2 i + 1 its antithesis."""
    return {
        name: torch.stack((phi[name] + sigma * part, phi[name] - sigma * part), dim=1).flatten(0, 1)
        for name, part in _parts(phi, noise).items()
    }


def estimate(phi: Mapping[str, Tensor], noise: Tensor, losses: Tensor, sigma: float) -> Phi:
    """Mean over pairs of ``noise (L+ - L-) / (2 sigma)``, by name as phi (Vicol et al. 2021, Algorithms 1 and 2).

    Args:
        phi: Gives names and shapes.
        noise: ``[pairs, N]`` standard normal, or for ``pes`` its sum over the trajectory's segments so far.
        losses: ``[2 pairs]`` meta-losses in the order of :func:`perturb`.
        sigma: As there.
    """
    plus, minus = losses.view(-1, 2).unbind(1)
    slopes = (plus - minus) / (2.0 * sigma)
    flat = (slopes @ noise / len(noise)).unsqueeze(0)
    return {name: part.squeeze(0) for name, part in _parts(phi, flat).items()}


def _parts(phi: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Rows ``[R, N]`` cut by weight, ``[R, ...]`` by name, in the order of phi."""
    names = sorted(phi)
    cuts = torch.split(rows, [phi[name].numel() for name in names], dim=1)
    shaped = {name: cut.reshape(len(rows), *phi[name].shape) for name, cut in zip(names, cuts, strict=True)}
    return {name: shaped[name] for name in phi}
