"""The symbolic rule under the laws of a rule, and its file form."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Rule, step_through
from rayl2o.rules.operands import Ema, Signal
from rayl2o.rules.parse import parse_expression
from rayl2o.rules.symbolic import SymbolicRule

RULES = {
    "sgd": SymbolicRule.from_formula("-0.1*g"),
    "linear": SymbolicRule.from_formula(
        "-0.01*m_tilde + -0.02*ema(g_tilde, 0.9) + 0.01*lag(q, 2)", clamp=0.02, gain=1.5
    ),
    "not canonical": SymbolicRule.from_formula("-0.1*(g + ema(g, 0.5)) - lag(g, 1)/8"),
    "nonlinear": SymbolicRule.from_formula("-0.05*tanh(3*ema(g, 0.9))*(1 - 0.2*t) + 0.01*spow(q, 0.7)", clamp=0.1),
    "constant": SymbolicRule.from_formula("0.25", gain=2.0),
    "no constant": SymbolicRule.from_formula("neg(tanh(g))"),
}
GENERATOR = torch.Generator()


def _grads(steps: int, size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(steps, size, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(dtype)


def _zero(rule: SymbolicRule, size: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return {"coord": rule.init_state({}, Layout.flat(size), 1, dtype)["coord"][0]}


def _steps(count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.arange(count, dtype=dtype)[:, None]


@pytest.mark.parametrize("name", RULES)
def test_state_shapes_and_purity(name: str) -> None:
    rule: Rule = RULES[name]
    phi = rule.init_phi(GENERATOR)
    state = rule.init_state(phi, Layout.flat(6), 3)
    assert state["coord"].shape == (3, 6, rule.state_size)
    grad = _grads(3, 6, torch.float32)
    old = state["coord"].clone()
    delta, new = rule.update(phi, Inputs(grad, torch.tensor(0.0)), state)
    assert delta.shape == grad.shape
    assert delta.dtype == grad.dtype
    assert new["coord"].shape == old.shape
    assert torch.equal(state["coord"], old)
    again, _ = rule.update(phi, Inputs(grad, torch.tensor(0.0)), state)
    assert torch.equal(delta, again)


@pytest.mark.parametrize("name", RULES)
def test_update_is_gain_times_clamped_formula(name: str) -> None:
    rule, grads = RULES[name], _grads(5, 4)
    deltas, _ = step_through(rule, rule.init_phi(GENERATOR, torch.float64), Inputs(grads, _steps(5)), _zero(rule, 4))
    value = rule.expression.evaluate({Signal("g"): grads, **rule.bank.run(grads)}).expand_as(grads)
    clamped = value if rule.clamp is None else value.clamp(-rule.clamp, rule.clamp)
    torch.testing.assert_close(deltas, rule.gain * clamped, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("name", RULES)
def test_sequence_equals_stepping_and_differentiates_the_same(name: str) -> None:
    rule, grads = RULES[name], _grads(9, 4)
    phi = {key: value.requires_grad_() for key, value in rule.init_phi(GENERATOR, torch.float64).items()}
    steps = _steps(9) + torch.tensor([0.0, 3.0, 500.0, 0.0], dtype=torch.float64)
    state = {"coord": torch.rand(4, rule.state_size, dtype=torch.float64)}
    weights = _grads(18, 4)[9:]
    results = []
    for run in (rule.sequence, lambda p, i, s: step_through(rule, p, i, s)):
        deltas, last = run(phi, Inputs(grads, steps), state)
        slopes = torch.autograd.grad((weights * deltas).sum(), list(phi.values()), allow_unused=True)
        results.append((deltas.detach(), last["coord"], *slopes))
    for fused, stepped in zip(*results, strict=True):
        if fused is not None:
            torch.testing.assert_close(fused, stepped, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", [name for name in RULES if name not in ("constant", "no constant")])
def test_adjoint_is_exact(name: str) -> None:
    rule = replace(RULES[name], clamp=None)
    shapes = rule.init_phi(GENERATOR, torch.float64)

    def total(grads: Tensor, coord: Tensor, coefficients: Tensor, gain: Tensor) -> Tensor:
        phi = {"coefficients": coefficients, "gain": gain}
        deltas, last = step_through(rule, phi, Inputs(grads, _steps(3)), {"coord": coord})
        return deltas.square().sum() + last["coord"].sum()

    coord = torch.rand(2, rule.state_size, dtype=torch.float64)
    inputs = (_grads(3, 2) + 0.3, coord, shapes["coefficients"], shapes["gain"])
    assert torch.autograd.gradcheck(total, tuple(x.clone().requires_grad_() for x in inputs))


@pytest.mark.parametrize("name", RULES)
def test_vmap_over_phi(name: str) -> None:
    rule, grads = RULES[name], _grads(4, 3)
    phi = rule.init_phi(GENERATOR, torch.float64)
    many = {key: torch.stack([value * s for s in (1.0, 0.5, -2.0)]) for key, value in phi.items()}
    for run in (rule.sequence, lambda p, i, s: step_through(rule, p, i, s)):
        batched = torch.func.vmap(lambda p, run=run: run(p, Inputs(grads, _steps(4)), _zero(rule, 3))[0])(many)
        for i in range(3):
            alone, _ = run({key: value[i] for key, value in many.items()}, Inputs(grads, _steps(4)), _zero(rule, 3))
            torch.testing.assert_close(batched[i], alone, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", RULES)
def test_zero_gradients_give_finite_updates_and_slopes(name: str) -> None:
    rule = RULES[name]
    phi = {key: value.requires_grad_() for key, value in rule.init_phi(GENERATOR).items()}
    grads = torch.zeros(4, 3, requires_grad=True)
    deltas, _ = step_through(rule, phi, Inputs(grads, _steps(4, torch.float32)), _zero(rule, 3, torch.float32))
    assert deltas.isfinite().all()
    slopes = torch.autograd.grad(deltas.sum(), [grads, *phi.values()], allow_unused=True)
    assert all(slope is None or slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize("name", RULES)
def test_float32_agrees_with_float64(name: str) -> None:
    rule, grads = RULES[name], _grads(50, 8, torch.float32)
    results = []
    for dtype in (torch.float32, torch.float64):
        inputs = Inputs(grads.to(dtype), _steps(50, dtype))
        results.append(rule.sequence(rule.init_phi(GENERATOR, dtype), inputs, _zero(rule, 8, dtype))[0])
    torch.testing.assert_close(results[0].double(), results[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", RULES)
def test_compiles_without_a_break(name: str) -> None:
    rule = RULES[name]
    phi = rule.init_phi(GENERATOR)

    def step(grad: Tensor, coord: Tensor) -> tuple[Tensor, Tensor]:
        delta, state = rule.update(phi, Inputs(grad, torch.tensor(3.0)), {"coord": coord})
        return delta, state["coord"]

    grad, coord = _grads(2, 5, torch.float32), torch.rand(2, 5, rule.state_size)
    rule.update(phi, Inputs(grad, torch.tensor(3.0)), {"coord": coord})  # fills the rule's caches before tracing
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    for a, b in zip(compiled(grad, coord), step(grad, coord), strict=True):
        torch.testing.assert_close(a, b)


def test_phi_folds_back() -> None:
    rule = RULES["linear"]
    phi = {"coefficients": torch.tensor([1.0, -2.0, 0.5]), "gain": torch.tensor(0.25)}
    folded = rule.with_phi(phi)
    assert folded.expression.constants == (1.0, -2.0, 0.5)
    assert (folded.gain, folded.clamp, folded.name) == (0.25, rule.clamp, rule.name)
    assert rule.with_phi(rule.init_phi(GENERATOR, torch.float64)) == rule
    with pytest.raises(UserError, match="bad constant"):
        rule.with_phi({**phi, "coefficients": torch.tensor([math.nan, 0.0, 0.0])})
    with pytest.raises(UserError, match="bad gain"):
        rule.with_phi({**phi, "gain": torch.tensor(math.inf)})


@pytest.mark.parametrize("name", RULES)
def test_file_form_round_trip(name: str) -> None:
    rule = replace(RULES[name], name="x", card={"tasks": ["digits"], "horizon": 1000})
    text = json.dumps(rule.to_json(), allow_nan=False)
    back = SymbolicRule.from_json(json.loads(text))
    assert back == rule == SymbolicRule.from_json(text)
    assert back.digest == rule.digest
    assert back.card == rule.card


def test_hand_written_file() -> None:
    rule = SymbolicRule.from_json({"schema_version": 1, "kind": "symbolic", "formula": "-0.1*ema(g, 0.9)"})
    assert rule.expression.linear_terms() == {Ema("g", 0.9): -0.1}
    assert (rule.clamp, rule.gain, rule.buffers) == (None, 1.0, 1)


def test_digest_is_about_updates_only() -> None:
    rule = RULES["linear"]
    assert replace(rule, name="other", card={"a": 1}).digest == rule.digest
    digests = {rule.digest, replace(rule, gain=1.0).digest, replace(rule, clamp=None).digest, RULES["sgd"].digest}
    assert len(digests) == 4


GOOD = RULES["linear"].to_json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "schema_version of a symbolic rule: got 2; expected 1"),
        ({"schema_version": None}, "schema_version of a symbolic rule"),
        ({"kind": "rnnprop"}, "kind of a symbolic rule: got 'rnnprop'"),
        ({"extra": 1}, "unknown key in a rule file: got 'extra'"),
        ({"clamp": -1.0}, "bad clamp: got -1.0"),
        ({"clamp": math.nan}, "bad clamp"),
        ({"clamp": "1"}, "bad clamp: got '1'"),
        ({"gain": math.inf}, "bad gain"),
        ({"gain": None}, "bad gain"),
        ({"name": 3}, "named by text"),
        ({"card": []}, "model card is a JSON object"),
        ({"formula": "-0.1*g"}, "formula and expression differ"),
        ({"formula": "exit()"}, "unknown operator"),
        ({"expression": {"op": "tan", "args": [{"signal": "g"}]}}, "unknown operator"),
    ],
)
def test_bad_files_are_one_clear_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        SymbolicRule.from_json({**GOOD, **changes})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [[], None, "[]", "{", {"schema_version": 1, "kind": "symbolic"}])
def test_not_a_rule_file(data: object) -> None:
    with pytest.raises(UserError):
        SymbolicRule.from_json(data)


def test_text_forms() -> None:
    rule = RULES["linear"]
    assert rule.formula == "-0.01*m_tilde + -0.02*ema(g_tilde, 0.9) + 0.01*lag(q, 2)"
    assert parse_expression(rule.formula) == rule.expression
    assert rule.pretty() == "Δθ = 1.5 clamp±0.02(-0.01 m̃ - 0.02 ema₀.₉(g̃) + 0.01 q[t-2])"
    assert rule.latex().startswith(r"\Delta\theta_{t} = 1.5 \, \mathrm{clamp}_{\pm 0.02}\left(-0.01 \, \tilde{m}_{t}")
    assert RULES["sgd"].pretty() == "Δθ = -0.1 g"
    assert replace(RULES["sgd"], gain=2.0).pretty() == "Δθ = 2 (-0.1 g)"
