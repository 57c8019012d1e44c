"""Credit against autograd through the unroll, in float64: the idea that the whole design rests on (design.md section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from rayl2o.meta.bptt import bptt, through
from rayl2o.meta.learner import meta_gradient
from rayl2o.rules.base import Inputs, Rule, State
from rayl2o.rules.registry import make, parse_rule
from rayl2o.rules.wrapper import Wrapper
from rayl2o.seeds import generator
from rayl2o.tasks.registry import build, task
from rayl2o.unroll.credit import first_order
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import MIX, TEACHER
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket
from rayl2o.unroll.window import Cast, start

RULES: Mapping[str, Rule] = {
    "dm": make("dm", {"output_scale": 0.1}),
    "rnnprop": make("rnnprop", {"output_scale": 0.1}),
    "rnnprop-small": make("rnnprop-small", {"output_scale": 0.1}),
}
TASKS = {
    "quadratic": task("quadratic"),
    "mlp": task("mlp", activation="sigmoid", data="digits", hidden=(4,), init_std=0.3),
    "relu": task("mlp", activation="relu", data="digits", hidden=(3, 4), init_std=0.3),
}
TEACHERS = ("adam:lr=0.01", "momentum:lr=0.05", "adagrad:lr=0.01")


def _ticket(family: str, k: int = 1, behaviour: str = "student", n_train: int = 40) -> Ticket:
    draws = generator(7, "task", family)
    teachers = {"student": (), "mix": TEACHERS, "teacher": TEACHERS[:1]}[behaviour]
    specs = tuple(TASKS[family].sample(draws) for _ in range(k))
    return Ticket("test", 3, 0, 0, specs, n_train, behaviour, teachers, 0.6)


def _config(credit: str, steps: int = 6, **settings: object) -> UnrollConfig:
    return replace(UnrollConfig(steps=steps, credit=credit, dtype="float64"), **settings)  # type: ignore[arg-type]


def _phi(name: str) -> dict[str, Tensor]:
    return RULES[name].init_phi(generator(5, name), dtype=torch.float64)


def _agree(rule: str, ticket: Ticket, config: UnrollConfig, state: SlotState | None = None) -> None:
    phi = _phi(rule)
    segment, _ = rollout(RULES[rule], config, ticket, state, phi)
    assert segment.status == ("ok",) * segment.k
    grads, _ = meta_gradient(RULES[rule], phi, [segment])
    oracle, _ = bptt(RULES[rule], config, ticket, state, phi, second_order=config.credit == "exact")
    scale = max(float(g.abs().max()) for g in oracle.values())
    assert scale > 1e-6
    for name in phi:
        torch.testing.assert_close(grads[name], oracle[name], rtol=0, atol=1e-10 * max(scale, 1.0))


@pytest.mark.parametrize("credit", ["first_order", "exact"])
@pytest.mark.parametrize("family", list(TASKS))
@pytest.mark.parametrize("rule", list(RULES))
def test_rtg_equals_autograd(rule: str, family: str, credit: str) -> None:
    _agree(rule, _ticket(family), _config(credit))


@pytest.mark.parametrize("credit", ["first_order", "exact"])
@pytest.mark.parametrize("rule", ["dm", "rnnprop"])
class TestVariants:
    """The variants that the papers' techniques need."""

    def test_k_instances(self, rule: str, credit: str) -> None:
        _agree(rule, _ticket("mlp", k=3), _config(credit))

    def test_mix(self, rule: str, credit: str) -> None:
        ticket = _ticket("mlp", k=2, behaviour=MIX)
        segment, _ = rollout(RULES[rule], _config(credit), ticket, None, _phi(rule))
        assert {0, 1, 2, 3} >= set(segment.actor.flatten().tolist()) > {0}
        _agree(rule, ticket, _config(credit))

    def test_truncation_carries_state(self, rule: str, credit: str) -> None:
        ticket, config = _ticket("mlp", behaviour=MIX), _config(credit)
        _, state = rollout(RULES[rule], config, ticket, None, _phi(rule))
        assert state.step == 6
        _agree(rule, ticket, config, state)

    def test_step_weights(self, rule: str, credit: str) -> None:
        _agree(rule, _ticket("mlp"), _config(credit, step_weights=(0.5, 0.0, 2.0, 1.0, 0.25, 3.0)))

    def test_last_iterate_not_scored(self, rule: str, credit: str) -> None:
        _agree(rule, _ticket("mlp"), _config(credit, score_last_iterate=False))

    def test_exactly_zero_for_a_teacher(self, rule: str, credit: str) -> None:
        phi = _phi(rule)
        segment, _ = rollout(RULES[rule], _config(credit), _ticket("mlp", behaviour=TEACHER), None, phi)
        assert float(segment.credit.abs().max()) > 0
        grads, value = meta_gradient(RULES[rule], phi, [segment])
        assert float(value) == 0.0
        assert all(bool((g == 0).all()) for g in grads.values())


@dataclass(frozen=True)
class StateApart(Wrapper):
    """The inner rule, but its state hears gradients as constants: what curvature credit takes to be so."""

    kind: ClassVar[str] = "state-apart"

    @property
    def state_size(self) -> int:
        """The inner rule's."""
        return self.rule.state_size

    def init_state(self, *args: Any, **settings: Any) -> State:
        """The inner rule's."""
        return self.rule.init_state(*args, **settings)

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step."""
        delta, _ = self.rule.update(phi, inputs, state)
        return delta, self.rule.update(phi, replace(inputs, grad=inputs.grad.detach()), state)[1]

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """The inner rule's."""
        return self.rule.sequence(phi, inputs, state)


@pytest.mark.parametrize("behaviour", ["student", MIX])
@pytest.mark.parametrize("rule", list(RULES))
def test_curvature_equals_autograd_where_the_state_hears_constants(rule: str, behaviour: str) -> None:
    ticket, phi = _ticket("mlp", k=2, behaviour=behaviour), _phi(rule)
    segment, _ = rollout(RULES[rule], _config("curvature"), ticket, None, phi)
    found, _ = meta_gradient(RULES[rule], phi, [segment])
    # A teacher's state hears constants too.
    apart = Cast(
        (StateApart(RULES[rule]), *(StateApart(parse_rule(text)) for text in ticket.teachers)), (phi, {}, {}, {})
    )
    apart = replace(apart, phis=apart.phis[: len(apart.rules)])
    task_batch = build(ticket.specs, dtype=torch.float64)
    state = start(apart, _config("exact"), ticket, task_batch)
    expected, _ = through(apart, _config("exact"), ticket, state, task_batch, second_order=True)
    exact, _ = bptt(RULES[rule], _config("exact"), ticket, None, phi, second_order=True)
    for name in phi:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12)
    assert any(not torch.allclose(found[name], exact[name], rtol=1e-4) for name in phi)


def test_first_order_is_not_exact() -> None:
    """The two credits differ where the loss is curved: a test of one must not pass with the other."""
    phi, ticket = _phi("dm"), _ticket("mlp")
    first, exact = (rollout(RULES["dm"], _config(c), ticket, None, phi)[0].credit for c in ("first_order", "exact"))
    assert not torch.allclose(first, exact, rtol=1e-3)
    # ... and agree in the window's last step, after which nothing follows.
    torch.testing.assert_close(first[:, -1], exact[:, -1])


def test_first_order_is_a_return_to_go() -> None:
    grads = torch.arange(1.0, 5.0)[:, None, None].expand(4, 2, 3)
    weights = torch.tensor([1.0, 0.5, 2.0])
    expected = torch.tensor([2 + 1.5 + 8, 1.5 + 8, 8.0])
    torch.testing.assert_close(first_order(grads[1:] * weights[:, None, None]), expected[:, None, None].expand(3, 2, 3))
