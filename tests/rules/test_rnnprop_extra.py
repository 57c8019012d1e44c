"""RP(small, extra): its third feature against its equations, and the gradient of the constants through the recursion."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rayl2o.meta.bptt import bptt
from rayl2o.meta.learner import meta_gradient
from rayl2o.rules.base import Inputs, Phi
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.rnnprop_extra import RnnPropExtra
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket

RULE = RnnPropExtra()
CONSTANTS = ("extra.k", "extra.l", "extra.alpha")


class _Third:
    """Replaces the network by the third feature, to see it from outside."""

    def step(
        self, phi: object, features: list[Tensor], state: Tensor, carried: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        return features[2], torch.cat((torch.stack(carried), state))


def _third(rule: RnnPropExtra, phi: Phi, grads: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """n~ ``[U, D]`` of ``grads [U, D]``, seen through the output's tanh."""
    with monkeypatch.context() as patch:
        patch.setattr(RnnPropExtra, "network", _Third())
        patch.setattr(RnnPropExtra, "_displacement", lambda _, y: y)
        state = {"coord": torch.zeros(1, grads.shape[1], 4, dtype=grads.dtype)}
        seen = []
        for t, grad in enumerate(grads):
            delta, state = rule.update(phi, Inputs(grad.unsqueeze(0), torch.tensor(t)), state)
            seen.append(delta[0])
    return torch.stack(seen)


def _constants(k: float = 0.5, alpha: float = 0.05, dtype: torch.dtype = torch.float64) -> Phi:
    values = {"extra.k": (k, 0.7), "extra.l": (0.4, 0.6), "extra.alpha": (alpha, 2.0 * alpha)}
    return {name: torch.tensor(pair, dtype=dtype) for name, pair in values.items()}


def test_sizes() -> None:
    phi = RULE.init_phi(generator("rp"))
    assert sum(weight.numel() for weight in phi.values()) == 430
    assert RULE.state_size == 18
    assert phi["input_projection.w"].shape == (3, 6)
    plain = RnnProp(projection=6, hidden=(7,)).init_phi(generator("rp"))
    assert set(phi) == {*plain, *CONSTANTS}


def test_the_third_feature_is_that_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    phi = _constants(alpha=0.2)
    (k1, k2), (l1, l2), (a1, a2) = (phi[name].tolist() for name in CONSTANTS)
    grads = torch.tensor([[0.3, -2.0], [-0.01, 1e-9], [0.0, 5.0]], dtype=torch.float64)
    found = _third(RULE, phi, grads, monkeypatch)
    for d in range(2):
        n = w = 0.0
        for t, g in enumerate(grads[:, d].tolist()):
            size = abs(g)
            odd = k1 * size ** (1 + a1) + k2 * size ** (1 - a1)
            n = 0.95 * n + 0.05 * math.copysign(odd, g)
            w = 0.95 * w + 0.05 * (l1 * size ** (2 + a2) + l2 * size ** (2 - a2))
            correction = 1 - 0.95 ** (t + 1)
            expected = (n / correction) / (math.sqrt(w / correction) + 1e-8)
            assert float(found[t, d]) == pytest.approx(expected, rel=1e-10)


def test_without_powers_it_is_the_normalised_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """k1 + k2 = l1 + l2 = 1 and alpha = 0 give m~."""
    values = {"extra.k": (0.3, 0.7), "extra.l": (0.1, -0.9), "extra.alpha": (0.0, 0.0)}
    phi = {name: torch.tensor(pair, dtype=torch.float64) for name, pair in values.items()}
    grads = torch.randn(10, 4, generator=generator("g"), dtype=torch.float64)
    m, v = torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for t, (grad, found) in enumerate(zip(grads, _third(RULE, phi, grads, monkeypatch), strict=True)):
        m, v = 0.95 * m + 0.05 * grad, 0.95 * v + 0.05 * grad.square()
        expected = m / (1 - 0.95 ** (t + 1)) / ((v / (1 - 0.95 ** (t + 1))).sqrt() + 1e-8)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-14)


def test_the_constants_are_differentiated_through_the_recursion(monkeypatch: pytest.MonkeyPatch) -> None:
    phi = {name: value.requires_grad_() for name, value in _constants().items()}
    grads = torch.randn(4, 3, generator=generator("g"), dtype=torch.float64).requires_grad_()

    def feature(grads: Tensor, *constants: Tensor) -> Tensor:
        return _third(RULE, dict(zip(phi, constants, strict=True)), grads, monkeypatch)

    assert torch.autograd.gradcheck(feature, (grads, *phi.values()))


@pytest.mark.parametrize("alpha", [0.0, 0.05, -0.3, 1.0, -3.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_gradient_and_exponent_is_sound(
    alpha: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [0.0, 1e-45, 1e-38, 1e-30, 1e-16, 1e-8, 1e-3, 1.0, 1e4, 1e9]
    once = torch.tensor([*sizes, *(-size for size in sizes)], dtype=dtype)
    grads = torch.stack((once, torch.zeros_like(once), once.flip(0))).requires_grad_()
    phi = {name: value.requires_grad_() for name, value in _constants(-0.5, alpha, dtype).items()}
    feature = _third(RULE, phi, grads, monkeypatch)
    derivatives = torch.autograd.grad(feature.sum(), [grads, *phi.values()])
    assert torch.isfinite(feature).all()
    assert all(torch.isfinite(d).all() for d in derivatives)


@pytest.mark.parametrize("credit", ["exact", "first_order"])
def test_the_fused_gradient_is_that_of_back_propagation(credit: str) -> None:
    """Over a fresh and a carried window; all six constants are trained."""
    family = task("mlp", data="digits", hidden=(3,), init_std=0.3)
    ticket = Ticket("t", 0, 0, 0, tuple(family.sample(generator(k)) for k in range(2)), 100)
    config, slot = UnrollConfig(steps=5, dtype="float64", credit=credit), None
    rule = replace(RULE, output_scale=0.1)
    phi = rule.init_phi(generator("phi"), torch.float64)
    for _ in range(2):
        expected, _ = bptt(rule, config, ticket, slot, phi, second_order=credit == "exact")
        segment, slot = rollout(rule, config, ticket, slot, phi)
        found, _ = meta_gradient(rule, phi, [segment])
        for name, wanted in expected.items():
            torch.testing.assert_close(found[name], wanted, rtol=1e-9, atol=1e-10 * float(wanted.abs().max()))
        assert all(float(expected[name].abs().min()) > 0 for name in CONSTANTS)
