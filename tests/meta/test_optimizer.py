"""The functional meta-optimizer against torch.optim, step by step, through a save and load of its state."""

from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.meta.optimizer import OPTIMIZERS, MetaOptimizerConfig, apply_gradient
from rayl2o.seeds import generator


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


@pytest.mark.parametrize(
    ("settings", "words"), [({"name": "adm"}, "'adam'"), ({"lr": 0.0}, "positive"), ({"clip_norm": -1.0}, "clip_norm")]
)
def test_bad_settings(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        MetaOptimizerConfig(**settings)  # type: ignore[arg-type]
