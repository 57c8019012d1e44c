from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rayl2o.envs.features import DEFAULT, INSTANCE, PAIR, Features, View, cosine, log_rms
from rayl2o.errors import UserError
from rayl2o.rules.log_sign import log_sign
from rayl2o.rules.operands import SIGNALS, Ema, Lag, Operand, OperandBank, Signal

K, C, T = 3, 4, 6


def view(grad: Tensor, step: int, **instance: Tensor) -> View:
    return View(grad, torch.full((K, 1), float(step)), {name: value.clone for name, value in instance.items()})


def test_formulas_are_what_rules_read() -> None:
    names = (*SIGNALS, "lag(q, 2)", "ema(g, 0.9)", "-2.0*g_tilde")
    features = Features.parse(names)
    grads = torch.randn(T, K, C, generator=torch.Generator().manual_seed(0)) * 0.1
    operands: tuple[Operand, ...] = (*(Signal(name) for name in SIGNALS), Lag("q", 2), Ema("g", 0.9))
    expected = OperandBank(operands).run(grads)
    state = features.start(K, C)
    for t in range(T):
        seen, state = features.observe(view(grads[t], t), state, clip=100.0)
        assert seen.shape == (K, C, len(names))
        for i, operand in enumerate(operands):
            torch.testing.assert_close(seen[..., i], expected[operand][t], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(seen[..., -1], -2 * expected[Signal("g_tilde")][t], rtol=1e-5, atol=1e-6)


def test_the_pair_of_dm_and_what_is_equal_at_all_coordinates() -> None:
    grad = torch.tensor([[0.0, 1e-6, -1.0, 3.0]]).expand(K, C)
    progress = torch.tensor([0.1, 0.2, 0.3])
    features = Features.parse((*PAIR, "progress"))
    seen, _ = features.observe(view(grad, 0, progress=progress), features.start(K, C), clip=10.0)
    size, sign = log_sign(grad, 10.0)
    assert torch.equal(seen[..., 0], size)
    assert torch.equal(seen[..., 1], sign)
    assert torch.equal(seen[..., 2], progress[:, None].expand(K, C))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38, 0.0])
def test_whatever_the_gradient_the_observation_is_finite_and_within_bounds(value: float) -> None:
    features = Features.parse((*SIGNALS, *PAIR, *INSTANCE, "lag(g, 1)", "ema(m_tilde, 0.5)"))
    state, grad = features.start(K, C), torch.full((K, C), value)
    for t in range(4):
        instance = {name: torch.full((K,), value) for name in INSTANCE}
        seen, state = features.observe(view(grad, t, **instance), state, clip=2.5)
        assert torch.isfinite(seen).all()
        assert seen.abs().max() <= 2.5


def test_rows_never_mix() -> None:
    features = Features.parse(DEFAULT)
    grad = torch.randn(K, C, generator=torch.Generator().manual_seed(1))
    instance = {name: torch.zeros(K) for name in INSTANCE}
    sick = grad.clone()
    sick[1] = math.nan
    one, _ = features.observe(view(grad, 0, **instance), features.start(K, C), 10.0)
    two, _ = features.observe(view(sick, 0, **instance), features.start(K, C), 10.0)
    assert torch.equal(one[[0, 2]], two[[0, 2]])


def test_size_of_a_gradient_and_angle_to_the_last() -> None:
    grad = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    last = torch.tensor([[-6.0, -8.0], [1.0, 1.0], [1.0, 1.0]])
    torch.testing.assert_close(log_rms(grad)[0], torch.tensor(math.log10(5 / math.sqrt(2))))
    assert log_rms(grad)[1] == -30
    torch.testing.assert_close(cosine(grad, last), torch.tensor([-1.0, 0.0, math.sqrt(0.5)]))


@pytest.mark.parametrize("names", [(), "g", ("g", "g")])
def test_a_list_of_different_names_is_needed(names: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="features of an environment are bad"):
        Features.parse(names)


def test_a_wrong_name_is_told_with_all_that_there_are() -> None:
    with pytest.raises(UserError) as caught:
        Features.parse(("g", "qq"))
    assert "unknown feature of an environment: got 'qq'" in str(caught.value)
    assert all(name in str(caught.value) for name in (*INSTANCE, *PAIR, *SIGNALS))
