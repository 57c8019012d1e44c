"""The functional meta-optimizer against torch.optim, step by step, through a save and load of its state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.meta.optimizer import (
    CLOCK,
    OPTIMIZERS,
    SETTINGS,
    MetaOptimizerConfig,
    apply_gradient,
    forget_moments,
    zero_nonfinite,
)
from rayl2o.seeds import generator

EVERY_SETTING: dict[str, tuple[dict[str, float], dict[str, Any]]] = {
    "adam": (
        {"beta1": 0.8, "beta2": 0.95, "eps": 0.1, "weight_decay": 0.02, "amsgrad": 1},
        {"betas": (0.8, 0.95), "eps": 0.1, "weight_decay": 0.02, "amsgrad": True},
    ),
    "adamw": (
        {"beta1": 0.8, "beta2": 0.95, "eps": 0.1, "weight_decay": 0.02, "amsgrad": 1},
        {"betas": (0.8, 0.95), "eps": 0.1, "weight_decay": 0.02, "amsgrad": True},
    ),
    "nadam": (
        {"beta1": 0.8, "beta2": 0.95, "eps": 0.1, "weight_decay": 0.02, "momentum_decay": 0.01},
        {"betas": (0.8, 0.95), "eps": 0.1, "weight_decay": 0.02, "momentum_decay": 0.01},
    ),
    "radam": (
        {"beta1": 0.8, "beta2": 0.95, "eps": 0.1, "weight_decay": 0.02},
        {"betas": (0.8, 0.95), "eps": 0.1, "weight_decay": 0.02},
    ),
    "adagrad": (
        {"lr_decay": 0.3, "weight_decay": 0.02, "initial_accumulator_value": 0.5, "eps": 0.1},
        {"lr_decay": 0.3, "weight_decay": 0.02, "initial_accumulator_value": 0.5, "eps": 0.1},
    ),
    "rmsprop": (
        {"alpha": 0.9, "eps": 0.1, "weight_decay": 0.02, "momentum": 0.7, "centered": 1},
        {"alpha": 0.9, "eps": 0.1, "weight_decay": 0.02, "momentum": 0.7, "centered": True},
    ),
    "sgd": (
        {"momentum": 0.7, "dampening": 0.0, "weight_decay": 0.02, "nesterov": 1},
        {"momentum": 0.7, "dampening": 0.0, "weight_decay": 0.02, "nesterov": True},
    ),
}
"""Ours, and what they are in torch's words."""
PHI = {"a": torch.tensor([3.0, -1.0]), "b": torch.tensor(0.5)}


def _one_step(config: MetaOptimizerConfig, grads: dict[str, Tensor], phi: dict[str, Tensor] = PHI) -> dict[str, Tensor]:
    """The displacement of one update."""
    moved, _ = apply_gradient(config, phi, grads, {})
    return {name: moved[name] - phi[name] for name in phi}


@pytest.mark.parametrize("clip", [0.0, 0.5])
@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_equals_torch_optim(name: str, clip: float) -> None:
    draws = generator("optimizer")
    phi = {"a.b": torch.randn(3, 2, generator=draws), "c": torch.randn((), generator=draws)}
    twin = {key: torch.nn.Parameter(value.clone()) for key, value in phi.items()}
    assert list(phi) == sorted(phi)
    optimizer = OPTIMIZERS[name](twin.values(), lr=0.1)  # type: ignore[call-arg]
    config = MetaOptimizerConfig(name, 0.1, clip)
    state: dict[str, torch.Tensor] = {}
    for _ in range(5):
        grads = {key: torch.randn(value.shape, generator=draws) for key, value in phi.items()}
        untouched = {key: value.clone() for key, value in phi.items()}
        new_phi, state = apply_gradient(config, phi, grads, state)
        assert all(torch.equal(phi[key], untouched[key]) for key in phi)
        for key, param in twin.items():
            param.grad = grads[key].clone()
        if clip:
            torch.nn.utils.clip_grad_norm_(twin.values(), clip)
        optimizer.step()
        phi = new_phi
        assert all(torch.equal(phi[key], twin[key].detach()) for key in phi)


def test_the_order_of_names_does_not_matter() -> None:
    """Files and messages list tensors in any order; the clip's norm must come out the same to the last bit."""
    draws = generator("order")
    phi = {f"w{i}": torch.randn(7, generator=draws) for i in range(9)}
    grads = {name: torch.randn(7, generator=draws) * 10.0**i for i, name in enumerate(phi)}
    config = MetaOptimizerConfig("sgd", 0.1, 0.01)
    first, _ = apply_gradient(config, phi, grads, {})
    again, _ = apply_gradient(config, dict(reversed(phi.items())), dict(reversed(grads.items())), {})
    assert all(torch.equal(first[name], again[name]) for name in phi)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_every_setting_is_torch_s(name: str) -> None:
    """Through a state that is taken apart and put together at every step."""
    ours, theirs = EVERY_SETTING[name]
    assert set(ours) == set(SETTINGS[name])
    phi = {"w": torch.randn(4, generator=generator("settings"))}
    twin = torch.nn.Parameter(phi["w"].clone())
    kind: Any = OPTIMIZERS[name]
    optimizer, plain = kind([twin], lr=0.1, **theirs), kind([twin], lr=0.1)
    changed = {key for key, value in optimizer.defaults.items() if value != plain.defaults[key]}
    assert changed == set(theirs) - {"dampening"}  # Nesterov allows no other than torch's own
    config = MetaOptimizerConfig(name, 0.1, settings=ours)
    state: dict[str, Tensor] = {}
    for step in range(5):
        twin.grad = torch.randn(4, generator=generator("settings", step))
        phi, state = apply_gradient(config, phi, {"w": twin.grad.clone()}, state)
        optimizer.step()
        assert torch.equal(phi["w"], twin.detach())


def test_the_dampening_that_nesterov_does_not_allow() -> None:
    config = MetaOptimizerConfig("sgd", 0.1, settings={"momentum": 0.7, "dampening": 0.3})
    assert config.arguments() == {"lr": 0.1, "momentum": 0.7, "dampening": 0.3}


def test_one_beta_leaves_the_other_at_its_default() -> None:
    assert MetaOptimizerConfig(settings={"beta2": 0.9}).arguments()["betas"] == (0.9, 0.9)
    assert MetaOptimizerConfig(settings={"beta1": 0.5}).arguments()["betas"] == (0.5, 0.999)


@pytest.mark.parametrize("smooth", [False, True])
def test_the_decay_is_torch_s_schedule(smooth: bool) -> None:
    config = MetaOptimizerConfig("sgd", 0.5, decay=0.8, decay_every=3, decay_smooth=smooth)
    twin = torch.nn.Parameter(torch.zeros(1))
    sgd = torch.optim.SGD([twin], lr=0.5)
    schedule: torch.optim.lr_scheduler.LRScheduler = (
        torch.optim.lr_scheduler.ExponentialLR(sgd, gamma=0.8 ** (1 / 3))
        if smooth
        else torch.optim.lr_scheduler.StepLR(sgd, step_size=3, gamma=0.8)
    )
    phi, state = {"w": torch.zeros(1)}, dict[str, Tensor]()
    for step in range(8):
        assert config.lr_after(step) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12)
        twin.grad = torch.ones(1)
        phi, state = apply_gradient(config, phi, {"w": torch.ones(1)}, state)
        sgd.step()
        schedule.step()
        assert float(phi["w"]) == pytest.approx(float(twin.detach()), rel=1e-6)
    assert int(state[CLOCK]) == 8


def test_the_clock_outlives_the_moments_and_is_kept_only_where_it_is_needed() -> None:
    grads = {name: torch.ones_like(value) for name, value in PHI.items()}
    _, plain = apply_gradient(MetaOptimizerConfig(), PHI, grads, {})
    assert CLOCK not in plain
    assert forget_moments(plain) == {}
    _, state = apply_gradient(MetaOptimizerConfig(decay=0.5), PHI, grads, {})
    assert len(state) > 1
    assert forget_moments(state) == {CLOCK: state[CLOCK]}


def test_penalties_are_gradients_of_the_loss() -> None:
    grads = {"a": torch.tensor([0.3, 0.2]), "b": torch.tensor(-0.1)}
    config = MetaOptimizerConfig("sgd", 1.0, l2=0.01, l2_norm=0.2)
    leaves = {name: value.clone().requires_grad_() for name, value in PHI.items()}
    square = sum(value.square().sum() for value in leaves.values())
    penalty = torch.as_tensor(0.01 * square + 0.2 * square**0.5)
    pulls = dict(zip(leaves, torch.autograd.grad(penalty, list(leaves.values())), strict=True))
    for name, moved in _one_step(config, grads).items():
        torch.testing.assert_close(moved, -(grads[name] + pulls[name]))


def test_the_norm_s_penalty_is_silent_at_zero() -> None:
    zero = {name: torch.zeros_like(value) for name, value in PHI.items()}
    moved = _one_step(MetaOptimizerConfig("sgd", 1.0, l2_norm=0.2), zero, zero)
    assert all(torch.equal(value, zero[name]) for name, value in moved.items())


def test_the_penalty_is_clipped_with_the_rest_entry_by_entry_before_the_norm() -> None:
    grads = {"a": torch.tensor([2.0, -100.0]), "b": torch.tensor(0.0)}
    config = MetaOptimizerConfig("sgd", 1.0, clip_value=5.0, l2=1.0)
    wanted = {"a": torch.tensor([-5.0, 5.0]), "b": torch.tensor(-1.0)}  # 2 + 6, -100 - 2, 0 + 1
    assert {name: value.tolist() for name, value in _one_step(config, grads).items()} == {
        name: value.tolist() for name, value in wanted.items()
    }
    both = _one_step(MetaOptimizerConfig("sgd", 1.0, 1.0, clip_value=5.0, l2=1.0), grads)
    for name, moved in both.items():
        torch.testing.assert_close(moved, wanted[name] / 51**0.5)


def test_the_recipe_of_r() -> None:
    """Adam, the squared norm's penalty in the loss, clipped at 5, lr times .8 every 500 (here 2) updates."""
    config = MetaOptimizerConfig(lr=0.01, clip_value=5.0, decay=0.8, decay_every=2, l2=1e-2)
    phi, state = {"w": torch.tensor([30.0, -2.0, 0.1])}, dict[str, Tensor]()
    twin = torch.nn.Parameter(phi["w"].clone())
    adam = torch.optim.Adam([twin], lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(adam, 2, 0.8)
    target = torch.tensor([0.0, 5.0, 0.1])
    for _ in range(7):
        phi, state = apply_gradient(config, phi, {"w": 2 * (phi["w"] - target)}, state)
        (twin.grad,) = torch.autograd.grad((twin - target).square().sum() + 1e-2 * twin.square().sum(), [twin])
        torch.nn.utils.clip_grad_value_([twin], 5.0)
        adam.step()
        schedule.step()
        torch.testing.assert_close(phi["w"], twin.detach())


def test_entries_that_are_not_finite_become_zero() -> None:
    grads = {"a": torch.tensor([1.0, torch.nan]), "b": torch.tensor(-torch.inf), "c": torch.tensor([torch.inf, -2.0])}
    kept, bad, entries = zero_nonfinite(grads)
    assert {name: value.tolist() for name, value in kept.items()} == {"a": [1.0, 0.0], "b": 0.0, "c": [0.0, -2.0]}
    assert (bad, entries) == (3, 5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "adm"}, "'adam'"),
        ({"lr": 0.0}, "positive"),
        ({"lr": float("nan")}, "positive"),
        ({"clip_norm": -1.0}, "clip_norm"),
        ({"clip_value": float("inf")}, "clip_value"),
        ({"l2": -1e-5}, "l2"),
        ({"l2_norm": float("nan")}, "l2_norm"),
        ({"decay": 0.0}, "decay"),
        ({"decay": 1.1}, "decay"),
        ({"decay_every": 0}, "decay_every"),
        ({"nonfinite": "zeros"}, "'zero'"),
        ({"settings": {"beta": 0.9}}, "'beta[12]'"),
        ({"settings": {"momentum": 0.9}}, "setting of the meta-optimizer adam"),
        ({"name": "sgd", "settings": {"nesterov": 0.5}}, "on or off"),
        ({"name": "sgd", "settings": {"nesterov": 1}}, "torch refuses"),
        ({"settings": {"beta1": 1.0}}, "torch refuses"),
        ({"settings": {"eps": float("nan")}}, "finite"),
    ],
)
def test_bad_settings(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        MetaOptimizerConfig(**settings)  # type: ignore[arg-type]
