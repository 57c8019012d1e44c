"""The exported file against the rule it came from, by importing what was written."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from rayl2o.layout import Layout
from rayl2o.optim import SymbolicOptimizer
from rayl2o.optim.export import CLASS, python_source
from rayl2o.rules.base import Inputs
from rayl2o.rules.operators import OPERATORS
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.seeds import generator

LINEAR = {
    "gradient": SymbolicRule.from_formula("-0.1*g"),
    "two averages": SymbolicRule.from_formula("-0.02*ema(g_tilde, 0.9) - 0.01*m_tilde", clamp=0.015, gain=1.7),
    "merged": SymbolicRule.from_formula("-0.1*g + 0.3*g - 0.25*g - 0.01*q"),
    "lags": SymbolicRule.from_formula("-0.1*g - 0.05*lag(g, 1) + 0.02*lag(g, 3) - 0.01*lag(q, 2)"),
    "cancelled": SymbolicRule.from_formula("g - g"),
    "same signal, two averages": SymbolicRule.from_formula("-0.1*ema(q, 0.5) - 0.1*ema(q, 0.99) - 0.2*ema(g, 0.5)"),
}
GENERAL = {
    "offset": SymbolicRule.from_formula("-0.1*g + 0.001"),
    "constant": SymbolicRule.from_formula("0.001", gain=2.0),
    "clock": SymbolicRule.from_formula("-0.1*g/(1.0 + t)"),
    "product of averages": SymbolicRule.from_formula("-0.1*tanh(ema(g, 0.9))*abs(lag(g_tilde, 2))", clamp=0.05),
    "nested": SymbolicRule.from_formula("-" + "tanh(" * 90 + "g" + ")" * 90),
}
OPERATOR_RULES = {
    name: SymbolicRule.from_formula(
        f"(g {name} ema(q, 0.5))"
        if not name.isalpha()
        else f"{name}(g)"
        if op.arity == 1
        else f"{name}(g, ema(q, 0.5))"
    )
    for name, op in OPERATORS.items()
}
RULES = LINEAR | GENERAL | {f"operator {name}": rule for name, rule in OPERATOR_RULES.items()}


def _module(folder: Path, rule: SymbolicRule) -> ModuleType:
    path = folder / "exported.py"
    path.write_text(python_source(rule), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("exported", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _grads(steps: int, size: int) -> torch.Tensor:
    """Normal gradients over nine decades, with zeros."""
    rng = generator("export")
    grads = torch.randn(steps, size, generator=rng, dtype=torch.float64)
    return grads * 10.0 ** torch.linspace(-6, 3, size, dtype=torch.float64) * (torch.arange(size) % 7 != 3)


@pytest.mark.parametrize("name", RULES)
def test_the_file_computes_what_the_rule_computes(name: str, tmp_path: Path) -> None:
    rule, grads = RULES[name], _grads(12, 40)
    exported = _module(tmp_path, rule)
    phi, state = rule.init_phi(dtype=torch.float64), rule.init_state({}, Layout.flat(40), 1, dtype=torch.float64)
    buffers = torch.zeros(exported.BUFFERS, 40, dtype=torch.float64)
    for step, grad in enumerate(grads):
        want, state = rule.update(phi, Inputs(grad=grad[None], step=torch.tensor(float(step))), state)
        torch.testing.assert_close(exported.update(grad, step, buffers), want[0], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", ["two averages", "lags", "product of averages"])
@pytest.mark.parametrize("maximize", [False, True])
def test_the_class_steps_as_ours_does(name: str, maximize: bool, tmp_path: Path) -> None:
    rule = RULES[name]
    start = torch.randn(6, 5, generator=generator("params"))
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    settings = {"lr": 0.7, "weight_decay": 0.01, "maximize": maximize}
    one = SymbolicOptimizer([ours], rule, lr=0.7, weight_decay=0.01, maximize=maximize)
    exported = _module(tmp_path, rule)
    two = getattr(exported, CLASS)([theirs], **settings)
    for step in range(10):
        if step == 5:  # a restart in the middle
            saved = two.state_dict()
            two = getattr(exported, CLASS)([theirs], **settings)
            two.load_state_dict(saved)
        for optimizer, param in ((one, ours), (two, theirs)):
            param.grad = torch.randn(6, 5, generator=generator("grad", step))
            optimizer.step()
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-7)
    assert not torch.equal(ours, start)


def test_the_class_takes_a_closure_and_skips_params_without_gradient(tmp_path: Path) -> None:
    used, unused = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    optimizer = getattr(_module(tmp_path, LINEAR["gradient"]), CLASS)([used, unused])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = used.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    assert float(optimizer.step(closure).detach()) == 3.0
    torch.testing.assert_close(used.detach(), torch.full((3,), 0.8))
    assert torch.equal(unused, torch.ones(3))


def test_half_precision_survives_a_reload(tmp_path: Path) -> None:
    exported = _module(tmp_path, LINEAR["two averages"])
    param = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = getattr(exported, CLASS)([param])
    for _ in range(2):
        param.grad = torch.ones(4, dtype=torch.bfloat16)
        optimizer.step()
        saved = optimizer.state_dict()
        optimizer = getattr(exported, CLASS)([param])
        optimizer.load_state_dict(saved)
    assert param.dtype == torch.bfloat16
    assert bool((param < 1).all())


@pytest.mark.parametrize("name", RULES)
def test_the_file_needs_torch_only(name: str) -> None:
    tree = ast.parse(python_source(RULES[name]))
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imports == {"math", "torch"}
    assert {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)} == {"__future__"}


def test_a_hostile_name_stays_in_its_comment() -> None:
    rule = SymbolicRule.from_formula("-0.1*g", name='x"""\nimport os  # \\')
    tree = ast.parse(python_source(rule))
    assert not any(alias.name == "os" for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names)


@pytest.mark.parametrize("settings", [{"lr": -1.0}, {"lr": float("nan")}, {"weight_decay": -0.1}])
def test_bad_settings_are_refused(settings: dict[str, float], tmp_path: Path) -> None:
    exported = _module(tmp_path, LINEAR["gradient"])
    with pytest.raises(ValueError, match="finite number"):
        getattr(exported, CLASS)([torch.nn.Parameter(torch.ones(1))], **settings)


def test_every_operator_is_covered() -> None:
    assert set(OPERATOR_RULES) == set(OPERATORS)
