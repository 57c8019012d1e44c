"""The variants of the meta-loss: their formulas, and the same gradient from returns-to-go and from autograd."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.meta.bptt import bptt
from rayl2o.meta.learner import meta_gradient
from rayl2o.meta.particles import fly, launch
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.meta_loss import point_weights, terms
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.settings import META_BATCHES, META_LOSSES, UnrollConfig
from rayl2o.unroll.ticket import Ticket

RULE = make("rnnprop-small", {"output_scale": 0.1})
FAMILY = task("mlp", data="digits", hidden=(3,), init_std=0.3)
TICKET = Ticket("t", 0, 0, 0, tuple(FAMILY.sample(generator(k)) for k in range(2)), 100)
CONFIG = UnrollConfig(steps=4, dtype="float64", step_weights=(1.0, 0.5, 0.0, 2.0))
PHI = RULE.init_phi(generator("phi"), dtype=torch.float64)

each_loss = pytest.mark.parametrize("meta_loss", META_LOSSES)
each_batch = pytest.mark.parametrize("meta_batch", META_BATCHES)


def test_the_formulas() -> None:
    losses = torch.tensor([[4.0], [2.0], [1.0], [0.5]], dtype=torch.float64)
    first = torch.tensor([8.0], dtype=torch.float64)
    expected = {
        "sum": [4.0, 1.0, 0.0, 1.0],
        "mean": [1.0, 0.25, 0.0, 0.25],
        "final": [0.0, 0.0, 0.0, 1.0],
        "ratio": [1 / 8, 1 / 32, 0.0, 1 / 32],
    }
    for name, values in expected.items():
        assert terms(replace(CONFIG, meta_loss=name), losses, first)[:, 0].tolist() == pytest.approx(values)
    logs = terms(replace(CONFIG, meta_loss="log"), losses, first)[:, 0]
    expected_logs = torch.tensor([0.25, 0.125, 0.0, 0.5]) * torch.log(losses[:, 0] / 8)
    assert logs.tolist() == pytest.approx(expected_logs.tolist(), rel=1e-4)


@each_loss
def test_the_weight_of_a_loss_that_is_not_finite_is_zero(meta_loss: str) -> None:
    losses = torch.tensor([[4.0, torch.nan], [2.0, torch.inf], [1.0, torch.nan], [0.5, 1.0]], dtype=torch.float64)
    weights = point_weights(replace(CONFIG, meta_loss=meta_loss), losses, torch.tensor([8.0, 8.0], dtype=torch.float64))
    assert weights[:3, 1].tolist() == [0.0, 0.0, 0.0]
    assert bool((weights[3] > 0).all())


@each_loss
@each_batch
@pytest.mark.parametrize("credit", ["first_order", "exact"])
def test_returns_to_go_equal_backpropagation(meta_loss: str, meta_batch: str, credit: str) -> None:
    config = replace(CONFIG, meta_loss=meta_loss, meta_batch=meta_batch, pool_batches=3, credit=credit)
    _, state = rollout(RULE, config, TICKET, None, PHI)  # a second window: its first loss is not that of the trajectory
    segment, _ = rollout(RULE, config, TICKET, state, PHI)
    found, _ = meta_gradient(RULE, PHI, [segment])
    expected, _ = bptt(RULE, config, TICKET, state, PHI, second_order=credit == "exact")
    assert max(float(value.abs().max()) for value in expected.values()) > 1e-7
    for name in PHI:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-8, atol=1e-12)


@each_loss
@each_batch
def test_particles_are_scored_by_the_same_loss(meta_loss: str, meta_batch: str) -> None:
    config = replace(CONFIG, meta_loss=meta_loss, meta_batch=meta_batch, pool_batches=3)
    phis = {name: value[None].expand(4, *value.shape) for name, value in PHI.items()}
    flight = fly(RULE, config, TICKET, launch(RULE, config, TICKET, phis, 2), phis, 2)
    _, expected = bptt(RULE, config, TICKET, None, PHI, second_order=False)
    assert float(flight.losses.mean()) == pytest.approx(float(expected), rel=1e-10)


def test_a_pool_is_the_same_throughout_a_window_and_another_in_the_next() -> None:
    from rayl2o.unroll.window import meta_batch_seeds

    pool = replace(CONFIG, meta_batch="pool", pool_batches=3)
    assert meta_batch_seeds(pool, TICKET, 0, 1) == meta_batch_seeds(pool, TICKET, 0, 4)
    assert meta_batch_seeds(pool, TICKET, 0, 4) != meta_batch_seeds(pool, TICKET, 4, 5)
    fresh = replace(CONFIG, meta_batch="fresh")
    assert meta_batch_seeds(fresh, TICKET, 0, 1) != meta_batch_seeds(fresh, TICKET, 0, 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"meta_loss": "lgo"},
        {"meta_batch": "sam"},
        {"meta_loss": "final", "score_last_iterate": False},
        {"pool_batches": 0},
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(UserError):
        replace(CONFIG, **settings)  # type: ignore[arg-type]
