"""Rows of the table of laws for the family ``mlp``: its tasks of paper S in small, and every setting that is not of paper T."""

from __future__ import annotations

from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.networks.mlp import MLP, NAMED
from rayl2o.tasks.settings import from_settings


def _named(name: str) -> TaskFamily:
    """As ``registry.task`` makes it, with a small minibatch."""
    named = NAMED[name]
    family: MLP = from_settings(MLP, {**named.defaults, **named.fixed, "batch_size": 16}, name)
    return family


ROWS: dict[str, TaskFamily] = {
    **{name: _named(name) for name in ("p2-small", "p3-small", "p4-small")},
    "mlp-centre": MLP(hidden=(6,), activation="tanh", batch_size=16, centre=0.3),
    "mlp-examples": MLP(hidden=(6,), activation="sigmoid", batch_size=16, examples=40),
    "mlp-examples-centre-half": MLP(hidden=(), batch_size=16, examples=200, centre=0.5, split="half-2"),
    "mlp-elu": MLP(hidden=(7, 6), activation="elu", batch_size=16),
    "mlp-leaky-relu": MLP(hidden=(7, 6), activation="leaky-relu", batch_size=16),
    "mlp-softplus": MLP(hidden=(7, 6), activation="softplus", batch_size=16, split="tf-train"),
}
