"""AdaBelief and Yogi against their papers in plain numbers, NAdam against ``torch.optim``, at every step."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.adam_variants import ADAM_VARIANTS, AdaBelief, NAdam, Yogi
from rayl2o.rules.base import Rule
from rayl2o.rules.classic import Adam, Classic
from tests.rules import noisy_bowl as bowl

each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def _mean(values: list[float], beta: float) -> float:
    """The moving average of a history that starts at 0, as a sum."""
    return sum((1.0 - beta) * beta**age * value for age, value in enumerate(reversed(values)))


def _adabelief(g: list[float], lr: float, beta1: float, beta2: float, eps: float) -> list[float]:
    """Zhuang et al. 2020, Algorithm 2, with its two recursions written out as sums."""
    means = [_mean(g[: t + 1], beta1) for t in range(len(g))]
    found = []
    for t in range(1, len(g) + 1):
        spread = _mean([(x - m) ** 2 + eps / (1.0 - beta2) for x, m in zip(g[:t], means[:t], strict=True)], beta2)
        m_hat, s_hat = means[t - 1] / (1.0 - beta1**t), spread / (1.0 - beta2**t)
        found.append(-lr * m_hat / (math.sqrt(s_hat) + eps))
    return found


def _yogi(g: list[float], lr: float, beta1: float, beta2: float, eps: float, v: float, corrected: bool) -> list[float]:
    """Zaheer et al. 2018, Algorithm 2; corrected as Optax, by Adam's two factors."""
    found = []
    for t in range(1, len(g) + 1):
        square = g[t - 1] ** 2
        if v > square:
            v = v - (1.0 - beta2) * square
        elif v < square:
            v = v + (1.0 - beta2) * square
        m, root = _mean(g[:t], beta1), math.sqrt(v)
        if corrected:
            m, root = m / (1.0 - beta1**t), math.sqrt(v / (1.0 - beta2**t))
        found.append(-lr * m / (root + eps))
    return found


@pytest.mark.parametrize(
    ("rule", "reference"),
    [
        (AdaBelief(), lambda g: _adabelief(g, 1e-3, 0.9, 0.999, 1e-16)),
        (AdaBelief(0.1, 0.5, 0.9, 1e-3), lambda g: _adabelief(g, 0.1, 0.5, 0.9, 1e-3)),
        (AdaBelief(0.1, 0.0, 0.5, 1e-8), lambda g: _adabelief(g, 0.1, 0.0, 0.5, 1e-8)),
        (Yogi(), lambda g: _yogi(g, 1e-2, 0.9, 0.999, 1e-3, 1e-6, False)),
        (Yogi(0.1, 0.5, 0.9, 1e-8, 0.1), lambda g: _yogi(g, 0.1, 0.5, 0.9, 1e-8, 0.1, False)),
        (Yogi(0.1, 0.8, 0.99, bias_correction=True), lambda g: _yogi(g, 0.1, 0.8, 0.99, 1e-3, 1e-6, True)),
    ],
    ids=["adabelief", "adabelief, other", "adabelief, no momentum", "yogi", "yogi, other", "yogi, corrected"],
)
@each_dtype
def test_it_is_its_paper_at_every_step(
    rule: Rule, reference: Callable[[list[float]], list[float]], dtype: torch.dtype
) -> None:
    grads = bowl.stream(dtype)
    expected = bowl.by_coordinate(reference, grads)
    tolerance = 2e-5 if dtype == torch.float32 else 1e-11
    torch.testing.assert_close(bowl.deltas(rule, grads).double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("lr", "beta1", "beta2", "eps", "momentum_decay"),
    [(2e-3, 0.9, 0.999, 1e-8, 4e-3), (0.1, 0.5, 0.9, 1e-3, 0.0), (0.01, 0.99, 0.99, 1e-6, 0.5)],
)
@each_dtype
def test_nadam_is_torch_optim_at_every_step(
    lr: float, beta1: float, beta2: float, eps: float, momentum_decay: float, dtype: torch.dtype
) -> None:
    params = bowl.leaf(dtype)
    twin = torch.optim.NAdam([params], lr, (beta1, beta2), eps, momentum_decay=momentum_decay)
    # torch would keep its product of momenta in float32, whatever the dtype of the params.
    zero = torch.zeros_like(params)
    product = torch.ones((), dtype=torch.float64)
    twin.state[params].update(step=torch.tensor(0.0), mu_product=product, exp_avg=zero, exp_avg_sq=zero.clone())
    found = bowl.path(NAdam(lr, beta1, beta2, eps, momentum_decay), bowl.start(1, dtype))[:, 0]
    tolerance = 2e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(found, bowl.twin_path(twin, params), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (AdaBelief, {"eps": (1e-16, 1e-8, 1e-3)}),
        (Yogi, {"eps": (1e-3, 1e-8, 1e-2)}),
        (NAdam, {"eps": (1e-8, 1e-3, 1e-6), "momentum_decay": (4e-3, 0.0, 0.5)}),
    ],
)
@each_dtype
def test_a_sweep_is_its_settings_side_by_side(
    kind: type[Classic], more: dict[str, tuple[float, ...]], dtype: torch.dtype
) -> None:
    settings = {"lr": (0.1, 0.01, 1e-3), "beta1": (0.9, 0.5, 0.99), "beta2": (0.999, 0.5, 0.9999), **more}
    bowl.assert_a_sweep_is_its_settings_side_by_side(kind, settings, dtype)


def test_nadam_has_the_defaults_of_torch_optim() -> None:
    theirs = torch.optim.NAdam([torch.zeros(1, requires_grad=True)]).defaults
    theirs["beta1"], theirs["beta2"] = theirs["betas"]
    assert vars(NAdam()) == {name: theirs[name] for name in vars(NAdam())}


def test_yogi_forgets_a_large_gradient_slower_than_adam() -> None:
    grads = torch.full((bowl.STEPS, bowl.D), 1e-3, dtype=torch.float64)
    grads[0] = 100.0
    adam = bowl.deltas(Adam(lr=1.0, beta1=0.0, beta2=0.5, eps=1e-8), grads)
    yogi = bowl.deltas(Yogi(lr=1.0, beta1=0.0, beta2=0.5, eps=1e-8), grads)
    assert float(adam[-1].abs().min()) > 0.5
    assert float(yogi[-1].abs().max()) < 1e-4


@pytest.mark.parametrize("kind", ADAM_VARIANTS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize(("setting", "value"), [("lr", -0.1), ("lr", math.nan), ("beta1", 1.0), ("beta2", 1.0)])
def test_an_impossible_setting_is_refused(kind: type[Classic], setting: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{kind.kind}: {setting} out of range"):
        kind(**{setting: value})
