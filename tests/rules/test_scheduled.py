"""Rules under a schedule against ``torch.optim`` with its schedulers, and against the inner rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.optim import lr_scheduler as torch_schedules

from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Rule
from rayl2o.rules.classic import Adagrad, Adam, Momentum, Nesterov, Sgd
from rayl2o.rules.decoupled import AdamW
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.scheduled import Scheduled, scheduled
from rayl2o.rules.schedules import Cosine, Product, Schedule, StepDecay, Warmup
from rayl2o.seeds import generator
from tests.rules import noisy_bowl as bowl

Optimizer = torch.optim.Optimizer
LR = 0.1

TWINS: dict[str, tuple[Rule, Callable[[Tensor], Optimizer]]] = {
    "sgd": (Sgd(LR), lambda p: torch.optim.SGD([p], LR)),
    "momentum": (Momentum(LR, 0.8), lambda p: torch.optim.SGD([p], LR, momentum=0.8)),
    "nesterov": (Nesterov(LR, 0.8), lambda p: torch.optim.SGD([p], LR, momentum=0.8, nesterov=True)),
    "adagrad": (Adagrad(LR), lambda p: torch.optim.Adagrad([p], LR)),
    "adam": (Adam(LR), lambda p: torch.optim.Adam([p], LR)),
    "adamw": (AdamW(LR, weight_decay=0.5), lambda p: torch.optim.AdamW([p], LR, weight_decay=0.5)),
}
SCHEDULERS: dict[str, tuple[Schedule, Callable[[Optimizer], torch_schedules.LRScheduler]]] = {
    "cosine": (Cosine(60, 0.2), lambda o: torch_schedules.CosineAnnealingLR(o, 60, eta_min=0.2 * LR)),
    "warmup": (Warmup(8), lambda o: torch_schedules.LinearLR(o, 1 / 8, total_iters=7)),
    "step decay": (StepDecay(12, 0.3), lambda o: torch_schedules.StepLR(o, 12, 0.3)),
    "warmup and cosine": (
        Product((Warmup(8), Cosine(60))),
        lambda o: torch_schedules.ChainedScheduler(
            [torch_schedules.LinearLR(o, 1 / 8, total_iters=7), torch_schedules.CosineAnnealingLR(o, 60)]
        ),
    ),
}


@pytest.mark.parametrize("schedule", SCHEDULERS)
@pytest.mark.parametrize("name", TWINS)
def test_it_is_torch_optim_with_a_scheduler_at_every_step(name: str, schedule: str) -> None:
    (rule, optimizer), (ours, theirs) = TWINS[name], SCHEDULERS[schedule]
    params = bowl.leaf()
    twin = optimizer(params)
    expected = bowl.twin_path(twin, params, theirs(twin))
    found = bowl.path(Scheduled(rule, ours), bowl.start(1))[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_a_learned_rule_is_scaled_and_its_state_is_not() -> None:
    rule, draw = RnnProp(projection=6, hidden=(7,)), generator("learned")
    phi = rule.init_phi(draw, torch.float64)
    under = Scheduled(rule, StepDecay(2, 0.5))
    start = under.init_state(phi, Layout.flat(9), 2, torch.float64)
    assert torch.equal(start["coord"], rule.init_state(phi, Layout.flat(9), 2, torch.float64)["coord"])
    state, plain = start, start
    for t in range(5):
        grad = torch.randn(2, 9, generator=draw, dtype=torch.float64)
        delta, state = under.update(phi, Inputs(grad, torch.tensor(t)), state)
        expected, plain = rule.update(phi, Inputs(grad, torch.tensor(t)), plain)
        torch.testing.assert_close(delta, 0.5 ** (t // 2) * expected)
        assert torch.equal(state["coord"], plain["coord"])


def test_an_integer_step_keeps_the_dtype_of_the_update() -> None:
    rule = Scheduled(Sgd(1.0), Cosine(10))
    for dtype in (torch.float32, torch.float64):
        delta, _ = rule.update(
            {}, Inputs(torch.ones(2, 3, dtype=dtype), torch.tensor(5)), {"coord": torch.empty(2, 3, 0)}
        )
        assert delta.dtype == dtype
        torch.testing.assert_close(delta, torch.full((2, 3), -0.5, dtype=dtype))


def test_it_shows_what_the_inner_rule_is() -> None:
    under = Scheduled(AdamW(), Warmup(3))
    assert (under.needs, under.coordinatewise, under.state_size) == (frozenset({"params"}), True, 2)
    inner = RnnProp(projection=6, hidden=(7,))
    weights = Scheduled(inner, Warmup(3)).init_phi(generator("phi"))
    assert all(torch.equal(weights[name], value) for name, value in inner.init_phi(generator("phi")).items())


def test_a_schedule_sweeps() -> None:
    settings = {"horizon": (20.0, 60.0), "floor": (0.0, 0.5)}
    bowl.assert_a_sweep_is_its_settings_side_by_side(
        lambda **arguments: Scheduled(Adam(LR), Cosine(**arguments)), settings, torch.float64
    )


def test_no_schedule_is_the_rule_itself() -> None:
    rule = Adam()
    assert scheduled(rule, None) is rule
    assert scheduled(rule, Warmup(2)) == Scheduled(rule, Warmup(2))
