"""Delayed gradients: the laws of a rule for the wrapper, its oracle (shifted gradients), and credit through the wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.meta.bptt import bptt
from rayl2o.meta.learner import meta_gradient
from rayl2o.rules.base import Inputs, Phi, Rule, State
from rayl2o.rules.classic import Adam, Sgd
from rayl2o.rules.delayed import Delayed, delayed
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket
from tests.rules import test_rule_laws as laws

FORMULA = make("symbolic", {"formula": "-0.01*m_tilde + 0.02*lag(g, 2) - 0.01*ema(g_tilde, 0.9)", "clamp": 0.02})
INNER: Mapping[str, Rule] = {
    "sgd": Sgd(lr=0.1),
    "adam": Adam(),
    "dm-small": make("dm-small", {}),
    "rnnprop-small": make("rnnprop-small", {}),
    "formula": FORMULA,
}
DELAYS = (1, 3, 8)  # the laws' sequences have five steps
RULES: Mapping[str, Rule] = {f"{name} {d}": delayed(rule, d) for name, rule in INNER.items() for d in DELAYS}
LEARNED = [name for name, rule in RULES.items() if rule.init_phi(generator("any"))]
DTYPES = (torch.float32, torch.float64)

each_rule = pytest.mark.parametrize("name", RULES)
each_inner = pytest.mark.parametrize("name", INNER)


@pytest.fixture(autouse=True)
def _delayed_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The laws' own tests, on the rules of this file."""
    monkeypatch.setattr(laws, "RULES", RULES)


@each_rule
@pytest.mark.parametrize(
    "law",
    [laws.test_shapes_and_dtypes_are_kept, lambda name, dtype: laws.test_update_is_pure(name)],
    ids=["shapes", "pure"],
)
def test_laws_of_an_update(name: str, law: Callable[[str, torch.dtype], None]) -> None:
    for dtype in DTYPES:
        law(name, dtype)


@each_rule
def test_coordinates_are_treated_alone(name: str) -> None:
    laws.test_coordinates_are_treated_alone(name)


@each_rule
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
def test_a_zero_gradient_has_finite_derivatives(name: str, used: bool) -> None:
    for dtype in DTYPES:
        laws.test_a_zero_gradient_has_finite_derivatives(name, dtype, used)


@each_rule
def test_a_saved_state_goes_on_with_the_same_bits(name: str, tmp_path: Path) -> None:
    for dtype in DTYPES:
        laws.test_a_saved_state_goes_on_with_the_same_bits(name, dtype, tmp_path)


@each_rule
@pytest.mark.parametrize("columns", ["together", "apart"])
def test_sequence_equals_stepping_through(name: str, columns: str) -> None:
    for dtype in DTYPES:
        laws.test_sequence_equals_stepping_through(name, dtype, columns)


@pytest.mark.parametrize("name", LEARNED)
def test_vmap_over_phi_equals_a_loop(name: str) -> None:
    for grad_mode in (False, True):
        laws.test_vmap_over_phi_equals_a_loop(name, grad_mode)


@pytest.mark.parametrize("name", LEARNED)
def test_the_graph_changes_nothing(name: str) -> None:
    for dtype in DTYPES:
        laws.test_the_graph_changes_nothing(name, dtype)


@pytest.mark.parametrize("name", ["sgd 3", "rnnprop-small 3"])
def test_a_compiled_update_gives_the_same_numbers(name: str) -> None:
    laws.test_a_compiled_update_gives_the_same_numbers(name)


def _walk(rule: Rule, phi: Phi, grads: Tensor) -> tuple[Tensor, State]:
    """Updates ``[U, K, D]`` from a fresh state, and the last state."""
    state = rule.init_state(phi, Layout.flat(grads.shape[-1]), grads.shape[1], grads.dtype)
    deltas = []
    with torch.no_grad():
        for t, grad in enumerate(grads):
            delta, state = rule.update(phi, Inputs(grad=grad, step=torch.tensor(t)), state)
            deltas.append(delta)
    return torch.stack(deltas), state


@each_inner
@pytest.mark.parametrize("d", [1, 2, 9])
def test_it_is_the_inner_rule_on_late_gradients(name: str, d: int) -> None:
    rule, grads = INNER[name], torch.randn(7, 2, 5, generator=generator("late"), dtype=torch.float64)
    phi = rule.init_phi(generator("phi"), torch.float64)
    late = torch.cat((torch.zeros(d, 2, 5, dtype=torch.float64), grads))[:7]
    expected, last = _walk(rule, phi, late)
    found, state = _walk(delayed(rule, d), phi, grads)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(state["coord"][..., d:], last["coord"], rtol=1e-12, atol=1e-15)
    waiting = torch.cat((torch.zeros(d, 2, 5, dtype=torch.float64), grads))[-d:]
    assert torch.equal(state["coord"][..., :d], waiting.movedim(0, -1))


@each_inner
def test_no_delay_is_the_inner_rule_to_the_bit(name: str) -> None:
    rule, grads = INNER[name], torch.randn(5, 2, 40, generator=generator("late"))
    phi = rule.init_phi(generator("phi"))
    assert delayed(rule, 0) is rule
    same = cast(Rule, Delayed(rule, 0))
    (found, state), (expected, last) = _walk(same, phi, grads), _walk(rule, phi, grads)
    assert torch.equal(found, expected)
    assert torch.equal(state["coord"], last["coord"])
    columns = Inputs(grads[:, 0], torch.arange(5)[:, None])
    start = {"coord": rule.init_state(phi, Layout.flat(40), 1)["coord"][0]}
    assert torch.equal(same.sequence(phi, columns, start)[0], rule.sequence(phi, columns, start)[0])


@dataclass(frozen=True)
class Watching(Sgd):
    """A rule that is not coordinate-wise, reads params and loss, and keeps a state of tensors and one of all."""

    kind: ClassVar[str] = "watching"
    needs: ClassVar[frozenset[str]] = frozenset({"params", "loss"})
    coordinatewise: ClassVar[bool] = False

    def init_state(self, phi: Any, layout: Layout, k: int, dtype: Any = torch.float32, device: Any = "cpu") -> State:
        """Counters."""
        state = super().init_state(phi, layout, k, dtype, device)
        return {**state, "tensor": torch.zeros(k, layout.tensors, 1), "global": torch.zeros(k, 1)}

    def update(self, phi: Any, inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """Shows what it was given."""
        assert inputs.params is not None
        assert inputs.loss is not None
        counted = {"tensor": state["tensor"] + 1, "global": state["global"] + 1}
        return inputs.grad + 10 * inputs.params + 100 * inputs.loss, {**state, **counted}


def test_only_the_gradient_is_late_and_other_states_pass_through() -> None:
    rule = Delayed(Watching(), 1)
    assert (rule.needs, rule.coordinatewise) == (frozenset({"params", "loss"}), False)
    state = rule.init_state({}, Layout.flat(2), 1)
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "coord": (1, 2, 1),
        "tensor": (1, 1, 1),
        "global": (1, 1),
    }
    for t, (grad, params, loss) in enumerate([(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)]):
        inputs = Inputs(torch.full((1, 2), grad), torch.tensor(t), torch.full((1, 2), params), torch.full((1, 1), loss))
        delta, state = rule.update({}, inputs, state)
    assert delta.tolist() == [[1.0 + 50.0 + 600.0] * 2]
    assert state["global"].tolist() == [[2.0]]
    assert rule.state_size == 1


@pytest.mark.parametrize("steps", [-1, 10_001])
def test_bad_delays(steps: int) -> None:
    with pytest.raises(UserError, match=r"give whole steps in 0\.\.10000"):
        delayed(Sgd(), steps)


def test_it_can_be_delayed_again() -> None:
    grads = torch.randn(6, 1, 3, generator=generator("late"))
    twice, once = delayed(delayed(Adam(), 1), 2), delayed(Adam(), 3)
    assert torch.equal(_walk(twice, {}, grads)[0], _walk(once, {}, grads)[0])


@pytest.mark.parametrize("credit", ["first_order", "exact"])
@pytest.mark.parametrize("kind", ["dm", "rnnprop"])
@pytest.mark.parametrize("d", [1, 2, 7])
def test_credit_through_the_wait_equals_autograd(kind: str, d: int, credit: str) -> None:
    """In a second window, where the queue is full of gradients of the first; with d = 7 nothing heard is of this window."""
    rule = delayed(make(kind, {"output_scale": 0.1}), d)
    phi = rule.init_phi(generator(5, kind), torch.float64)
    family = task("mlp", activation="sigmoid", data="digits", hidden=(4,), init_std=0.3)
    specs = tuple(family.sample(generator("task")) for _ in range(2))
    ticket = Ticket("test", 3, 0, 0, specs, 40, "mix", ("adam:lr=0.01", "momentum:lr=0.05"), 0.5)
    config = replace(UnrollConfig(steps=6, credit=credit, dtype="float64"))
    _, state = rollout(rule, config, ticket, None, phi)
    for begin in (None, state):
        segment, _ = rollout(rule, config, ticket, begin, phi)
        assert segment.status == ("ok", "ok")
        grads, _ = meta_gradient(rule, phi, [segment])
        oracle, _ = bptt(rule, config, ticket, begin, phi, second_order=credit == "exact")
        scale = max(float(g.abs().max()) for g in oracle.values())
        assert scale > 1e-6
        for name in phi:
            torch.testing.assert_close(grads[name], oracle[name], rtol=0, atol=1e-10 * max(scale, 1.0))
