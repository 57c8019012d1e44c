"""The hand-made rules against ``torch.optim``, at every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Rule
from rayl2o.rules.classic import CLASSIC, Adagrad, Adam, Classic, Momentum, Nesterov, RmsProp, Sgd
from rayl2o.rules.moments import Hyper
from rayl2o.seeds import generator

K, D, STEPS = 3, 12, 50
Twin = Callable[[list[Tensor], Mapping[str, Any]], torch.optim.Optimizer]


def _adam(params: list[Tensor], s: Mapping[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=s["lr"], betas=(s["beta1"], s["beta2"]), eps=s["eps"])


# A rule, its twin, and three settings that run side by side.
CASES: Mapping[str, tuple[Callable[..., Classic], Twin, Mapping[str, tuple[float, float, float]]]] = {
    "sgd": (Sgd, lambda p, s: torch.optim.SGD(p, **s), {"lr": (0.1, 0.01, 0.3)}),
    "momentum": (
        Momentum,
        lambda p, s: torch.optim.SGD(p, **s),
        {"lr": (0.1, 0.01, 0.02), "momentum": (0.9, 0.99, 0.0)},
    ),
    "nesterov": (
        Nesterov,
        lambda p, s: torch.optim.SGD(p, **s, nesterov=s["momentum"] > 0),
        {"lr": (0.1, 0.01, 0.02), "momentum": (0.9, 0.99, 0.5)},
    ),
    "adagrad": (
        Adagrad,
        lambda p, s: torch.optim.Adagrad(p, **s),
        {"lr": (0.1, 0.01, 1.0), "lr_decay": (0.0, 0.1, 0.01), "eps": (1e-10, 1e-3, 1e-8)},
    ),
    "adagrad, filled": (
        lambda **s: Adagrad(**s, initial_accumulator_value=0.3),
        lambda p, s: torch.optim.Adagrad(p, **s, initial_accumulator_value=0.3),
        {"lr": (0.1, 0.01, 1.0)},
    ),
    "rmsprop": (
        RmsProp,
        lambda p, s: torch.optim.RMSprop(p, **s),
        {"lr": (0.1, 0.01, 1e-3), "alpha": (0.99, 0.9, 0.999), "eps": (1e-8, 1e-3, 1e-6)},
    ),
    "rmsprop, momentum": (
        RmsProp,
        lambda p, s: torch.optim.RMSprop(p, **s),
        {"lr": (0.1, 0.01, 1e-3), "momentum": (0.9, 0.5, 0.0)},
    ),
    "adam": (
        Adam,
        _adam,
        {"lr": (0.1, 0.01, 1e-3), "beta1": (0.9, 0.0, 0.99), "beta2": (0.999, 0.5, 0.9999), "eps": (1e-8, 1e-3, 1e-6)},
    ),
}
each_case = pytest.mark.parametrize("name", CASES)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def _curvature() -> Tensor:
    return torch.logspace(-3, 0.5, D, dtype=torch.float64)


def _gradient(params: Tensor, noise: Tensor) -> Tensor:
    """Of an ill-conditioned quadratic under noise; one coordinate is dead."""
    gradient = _curvature().to(params) * params + noise.to(params)
    gradient[..., 5] = 0.0
    return gradient


def _rows(name: str) -> list[dict[str, float]]:
    settings = CASES[name][2]
    return [{key: values[k] for key, values in settings.items()} for k in range(K)]


def _trajectory(rule: Rule, params: Tensor) -> list[Tensor]:
    noise = 0.1 * torch.randn(STEPS, D, generator=generator("noise"), dtype=torch.float64)
    state = rule.init_state({}, Layout.flat(D), params.shape[0], params.dtype)
    trajectory = []
    for t in range(STEPS):
        delta, state = rule.update({}, Inputs(_gradient(params, noise[t]), torch.tensor(t)), state)
        params = params + delta
        trajectory.append(params)
    return trajectory


def _twin_trajectory(twin: Twin, settings: Mapping[str, float], params: Tensor) -> list[Tensor]:
    noise = 0.1 * torch.randn(STEPS, D, generator=generator("noise"), dtype=torch.float64)
    params = params.clone().requires_grad_()
    optimizer = twin([params], settings)
    trajectory = []
    for t in range(STEPS):
        params.grad = _gradient(params.detach(), noise[t])
        optimizer.step()
        trajectory.append(params.detach().clone())
    return trajectory


@each_case
@each_dtype
def test_it_is_torch_optim_at_every_step(name: str, dtype: torch.dtype) -> None:
    factory, twin, _ = CASES[name]
    start = torch.randn(D, generator=generator("start"), dtype=torch.float64).to(dtype)
    for row in _rows(name):
        ours, theirs = _trajectory(factory(**row), start[None]), _twin_trajectory(twin, row, start)
        tolerance = 2e-5 if dtype == torch.float32 else 1e-12
        for t, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert torch.allclose(mine[0], other, rtol=tolerance, atol=tolerance), f"step {t}: {mine[0] - other}"


@each_case
@each_dtype
def test_a_sweep_is_its_settings_side_by_side(name: str, dtype: torch.dtype) -> None:
    factory, _, settings = CASES[name]
    start = torch.randn(D, generator=generator("start"), dtype=torch.float64).to(dtype)
    columns: dict[str, Hyper] = {
        key: torch.tensor(values, dtype=torch.float64).unsqueeze(1) for key, values in settings.items()
    }
    together = _trajectory(factory(**columns), start.expand(K, D))
    alone = [_trajectory(factory(**row), start[None]) for row in _rows(name)]
    assert together[-1].dtype == dtype
    tolerance = 2e-6 if dtype == torch.float32 else 1e-13
    for t, params in enumerate(together):
        torch.testing.assert_close(params, torch.cat([run[t] for run in alone]), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", CLASSIC, ids=lambda kind: kind.kind)
def test_defaults_are_those_of_torch_optim(kind: type[Classic]) -> None:
    twins: Mapping[str, Any] = {
        "sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "rmsprop": torch.optim.RMSprop, "adam": torch.optim.Adam,
    }  # fmt: skip
    ours = dict(vars(kind()))
    if kind.kind in ("momentum", "nesterov"):
        assert ours == {"lr": 1e-3, "momentum": 0.9}
        return
    theirs = twins[kind.kind]([torch.zeros(1, requires_grad=True)]).defaults
    if kind.kind == "adam":
        theirs["beta1"], theirs["beta2"] = theirs["betas"]
    assert ours == {key: theirs[key] for key in ours}


@pytest.mark.parametrize("kind", CLASSIC, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_an_impossible_rate_is_refused(kind: type[Classic], value: float) -> None:
    with pytest.raises(UserError, match=f"{kind.kind}: lr out of range"):
        kind(lr=value)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("kind", "setting"),
    [(Adam, "beta1"), (Adam, "beta2"), (RmsProp, "alpha"), (Momentum, "momentum"), (Nesterov, "momentum")],
)
def test_a_decay_of_one_is_refused(kind: Callable[..., Classic], setting: str) -> None:
    with pytest.raises(UserError, match=rf"{setting} out of range: got 1.0; give a number in \[0, 1\)"):
        kind(**{setting: 1.0})


def test_rmsprop_carries_a_second_buffer_only_for_momentum() -> None:
    assert RmsProp().state_size == 1
    assert RmsProp(momentum=0.5).state_size == 2
    assert RmsProp(momentum=torch.zeros(K, 1)).state_size == 2
