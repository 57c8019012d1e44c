"""Rows for the law table: every augmentation alone, and five random compositions."""

from __future__ import annotations

import torch

from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.augment.augmented import Augmented
from rayl2o.tasks.augment.base import Augmentation
from rayl2o.tasks.augment.convex import Convex
from rayl2o.tasks.augment.gradient_noise import GradientNoise
from rayl2o.tasks.augment.loss_rescaling import LossRescaling
from rayl2o.tasks.augment.reparametrisation import Reparametrisation
from rayl2o.tasks.augment.restart import Restart
from rayl2o.tasks.augment.scaling import Scaling
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.networks.mlp import MLP

SINGLE: dict[str, Augmentation] = {
    "scaling": Scaling(-1.0, 1.0),
    "reparametrisation": Reparametrisation(smallest=0.3, largest=3.0, signs=True, reflections=2),
    "reparametrisation-mixed": Reparametrisation("mixed", 0.1, 10.0),
    "convex": Convex(size=4),
    "convex-code": Convex(size=3, weight=0.5, scaling=1.0, variant="code"),
    "gradient-noise": GradientNoise(0.01, 0.1),
    "loss-rescaling": LossRescaling(0.3, 3.0),
    "restart": Restart(steps=6, lr=0.05),
}
INNER: dict[str, TaskFamily] = {
    "quadratic": Quadratic(log10_smallest=-1.0),
    "mlp": MLP(hidden=(4,), batch_size=8, init_std=0.3),
}
COMPOSITIONS = (3, 8, 14, 31, 32)
"""Seeds of five compositions that together have every augmentation."""


def _composition(seed: int) -> Augmented:
    """Two to five augmentations in a random order, kinds repeated now and then."""
    rng = torch.Generator().manual_seed(seed)
    names = list(SINGLE)
    count = int(torch.randint(2, 6, (), generator=rng))
    picks = torch.randint(len(names), (count,), generator=rng).tolist()
    return Augmented(INNER[("quadratic", "mlp")[seed % 2]], tuple(SINGLE[names[pick]] for pick in picks))


ROWS: dict[str, Augmented] = {
    **{f"augmented-{name}": Augmented(INNER["quadratic"], (step,)) for name, step in SINGLE.items()},
    "augmented-mlp": Augmented(INNER["mlp"], (SINGLE["scaling"], SINGLE["convex-code"])),
    **{f"augmented-random-{seed}": _composition(seed) for seed in COMPOSITIONS},
    "augmented-twice": Augmented(Augmented(INNER["quadratic"], (SINGLE["scaling"],)), (SINGLE["convex"],)),
    "augmented-nothing": Augmented(INNER["quadratic"], ()),
}
