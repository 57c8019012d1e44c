"""The small MLP in numpy, one tensor at a time, written after ``adafac_mlp_lopt.py`` of google/learned_optimization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
DECAYS = np.array([0.9, 0.99, 0.999, 0.999, 0.9, 0.99, 0.999])
TIMESCALES = np.array([1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000])


def decays(offset: Array) -> Array:
    """``param_to_decay(decay_to_param(d) + offset)``, those of squares kept in [0, 1]."""
    moved = 1 - np.exp((np.log(1 - DECAYS) / 10.0 + offset) * 10.0)
    return np.asarray(np.where(np.arange(7) < 3, moved, np.clip(moved, 0, 1)))


@dataclass
class Tensor:
    """The accumulators of one tensor; ``step`` changes them."""

    shape: tuple[int, ...]
    decays: Array
    moments: dict[str, list[Any]] = field(default_factory=dict)

    def features(self, g: Array, p: Array) -> Array:
        """``[*shape, 28]``, normalised, after the moments have heard of ``g``."""
        m, v = self._mean("m", g, self.decays[:3]), self._mean("v", g * g, self.decays[3:4])
        columns = [g, p, *m, *v, *(each / np.sqrt(v[0] + 1e-6) for each in m), 1 / np.sqrt(v[0] + 1e-6)]
        columns += self._adafactor(g, m)
        stacked = np.stack(np.broadcast_arrays(*columns), -1)
        return np.asarray(stacked / np.sqrt(1e-5 + np.mean(stacked**2, tuple(range(g.ndim)), keepdims=True)))

    def _adafactor(self, g: Array, m: list[Array]) -> list[Array]:
        square = g * g + 1e-30
        if g.ndim < 2:
            v = self._mean("full", square, self.decays[4:])
            root = [1 / np.sqrt(each + 1e-8) for each in v]
            scaled = [a / np.sqrt(each + 1e-6) for a, each in zip(m, v, strict=True)]
            return [*(g / np.sqrt(each + 1e-9) for each in v), *v, *v, *root, *root, *scaled]
        d1, d0 = np.argsort(g.shape, kind="stable")[-2:]
        rows = self._mean("row", square.mean(d0, keepdims=True), self.decays[4:])
        cols = self._mean("col", square.mean(d1, keepdims=True), self.decays[4:])
        factors = [
            np.maximum(r / (r.mean(d1, keepdims=True) + 1e-9), 1e-9) ** -0.5 * np.maximum(c, 1e-9) ** -0.5
            for r, c in zip(rows, cols, strict=True)
        ]
        roots = [1 / np.sqrt(each + 1e-8) for each in (*rows, *cols)]
        return [*(g * f for f in factors), *rows, *cols, *roots, *(a * f for a, f in zip(m, factors, strict=True))]

    def _mean(self, name: str, value: Array, rates: Array) -> list[Array]:
        old = self.moments.get(name, [0.0] * len(rates))
        self.moments[name] = [d * mean + (1 - d) * value for d, mean in zip(rates, old, strict=True)]
        return self.moments[name]


def displacement(phi: Mapping[str, Array], features: Array, step: int, exp_mult: float, step_mult: float) -> Array:
    """``[*shape]`` of ``features [*shape, 28]``."""
    embedding = np.tanh(step / TIMESCALES - 1.0)
    net = np.concatenate((features, np.broadcast_to(embedding, (*features.shape[:-1], 11))), -1)
    layers = sum(name.startswith("mlp.w") for name in phi)
    for i in range(layers):
        net = net @ phi[f"mlp.w{i}"] + phi[f"mlp.b{i}"]
        net = net if i == layers - 1 else np.maximum(net, 0)
    return np.asarray(-net[..., 0] * np.exp(net[..., 1] * exp_mult) * step_mult)
