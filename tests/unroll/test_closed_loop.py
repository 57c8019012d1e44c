"""Losses of a rule run on its own: equal to a hand-written loop, divergence charged, never a NaN in a mean."""

from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.registry import parse_rule
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.closed_loop import PENALTY, closed_loop

FAMILY = task("mlp", activation="sigmoid", data="digits", hidden=(5,))
TASK = FAMILY.build([FAMILY.sample(generator(k)) for k in range(3)])
SEEDS = [derive_seed("init", k) for k in range(3)]


def _batches(step: int) -> list[int]:
    return [derive_seed("batch", k, step) for k in range(3)]


def test_equals_a_hand_written_loop() -> None:
    curves = closed_loop(parse_rule("sgd:lr=0.5"), {}, TASK, SEEDS, _batches, 12)
    params = TASK.init_params(SEEDS)
    for t in range(12):
        loss, grad = TASK.loss_and_grad(params, TASK.draw_batch(_batches(t)))
        torch.testing.assert_close(curves.loss[:, t], loss)
        params = params - 0.5 * grad
    assert curves.diverged == (False, False, False)


def test_settings_side_by_side() -> None:
    rates = torch.tensor([[0.1], [0.5], [1.0]])
    rule = type(parse_rule("sgd:lr=0.1"))(lr=rates)  # type: ignore[call-arg]
    together = closed_loop(rule, {}, TASK, SEEDS, _batches, 8)
    for k, rate in enumerate((0.1, 0.5, 1.0)):
        alone = closed_loop(parse_rule(f"sgd:lr={rate}"), {}, TASK, SEEDS, _batches, 8)
        torch.testing.assert_close(together.loss[k], alone.loss[k])


def test_divergence_is_charged() -> None:
    rising = SymbolicRule.from_formula("1.0*g")
    curves = closed_loop(rising, rising.init_phi(generator(0)), TASK, SEEDS, _batches, 60, loss_cap=3.0)
    assert curves.diverged == (True, True, True)
    assert bool(torch.isfinite(curves.loss).all())
    for row, valid in zip(curves.loss, curves.valid.tolist(), strict=True):
        assert 0 < valid < 60
        assert bool((row[:valid] <= 3.0).all())
        torch.testing.assert_close(row[valid:], (PENALTY * row[0]).expand(60 - valid))


def test_observe_sees_every_update() -> None:
    seen: list[int] = []
    closed_loop(parse_rule("sgd:lr=0.1"), {}, TASK, SEEDS, _batches, 5, observe=lambda t, g, d: seen.append(t))
    assert seen == [0, 1, 2, 3]


def test_not_finite_at_the_start() -> None:
    family = task("mlp", activation="sigmoid", data="digits", hidden=(5,), init_std=1e38)
    batch = family.build([family.sample(generator(k)) for k in range(3)])
    with pytest.raises(UserError, match="not finite at the first step"):
        closed_loop(parse_rule("sgd:lr=0.1"), {}, batch, SEEDS, _batches, 5)
