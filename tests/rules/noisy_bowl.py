"""A stream of gradients and a noisy, ill-conditioned quadratic on which rules are compared with their twins."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Rule
from rayl2o.seeds import generator

D, STEPS, DEAD = 12, 50, 5
"""Coordinates, updates, and the coordinate whose gradient is always 0."""


def gradient(params: Tensor, t: int) -> Tensor:
    """At ``params [..., D]`` and step t, in their dtype."""
    noise = 0.1 * torch.randn(D, generator=generator("noise", t), dtype=torch.float64)
    found = torch.logspace(-3, 0.5, D, dtype=torch.float64).to(params) * params + noise.to(params)
    found[..., DEAD] = 0.0
    return found


def start(k: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """``[k, D]``, equal rows."""
    return torch.randn(D, generator=generator("start"), dtype=torch.float64).to(dtype).expand(k, D)


def stream(dtype: torch.dtype = torch.float64) -> Tensor:
    """Gradients ``[STEPS, D]`` of several sizes, one coordinate dead and one that falls silent."""
    grads = torch.randn(STEPS, D, generator=generator("stream"), dtype=torch.float64)
    grads = grads * torch.logspace(-4, 1, D, dtype=torch.float64)
    grads[:, DEAD] = 0.0
    grads[STEPS // 2 :, 7] = 0.0
    return grads.to(dtype)


def deltas(rule: Rule, grads: Tensor) -> Tensor:
    """Updates ``[STEPS, D]`` of a fresh rule on a stream."""
    state = rule.init_state({}, Layout.flat(D), 1, grads.dtype)
    found = []
    for t, grad in enumerate(grads):
        delta, state = rule.update({}, Inputs(grad[None], torch.tensor(t)), state)
        found.append(delta[0])
    return torch.stack(found)


def by_coordinate(reference: Callable[[list[float]], list[float]], grads: Tensor) -> Tensor:
    """``[STEPS, D]`` from a reference in plain numbers, which maps one coordinate's gradients to its updates."""
    columns = [reference(column) for column in grads.double().t().tolist()]
    return torch.tensor(columns, dtype=torch.float64).t()


def path(rule: Rule, params: Tensor) -> Tensor:
    """Params ``[STEPS, K, D]`` after each update on the bowl."""
    state = rule.init_state({}, Layout.flat(D), params.shape[0], params.dtype)
    found = []
    for t in range(STEPS):
        delta, state = rule.update({}, Inputs(gradient(params, t), torch.tensor(t), params=params), state)
        params = params + delta
        found.append(params)
    return torch.stack(found)


def twin_path(
    optimizer: torch.optim.Optimizer, params: Tensor, scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
) -> Tensor:
    """Params ``[STEPS, ...]`` after each step of a ``torch.optim`` optimizer of ``params`` on the bowl."""
    found = []
    for t in range(STEPS):
        params.grad = gradient(params.detach(), t)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        found.append(params.detach().clone())
    return torch.stack(found)


def leaf(dtype: torch.dtype = torch.float64) -> Tensor:
    """The start ``[D]`` as a parameter."""
    return start(1, dtype)[0].clone().requires_grad_()


def assert_a_sweep_is_its_settings_side_by_side(
    factory: Callable[..., Rule], settings: Mapping[str, tuple[float, ...]], dtype: torch.dtype
) -> None:
    """A rule with ``[K, 1]`` settings against K rules with one setting each."""
    k = len(next(iter(settings.values())))
    columns = {name: torch.tensor(values, dtype=torch.float64).unsqueeze(1) for name, values in settings.items()}
    together = path(factory(**columns), start(k, dtype))
    rows = [factory(**{name: values[i] for name, values in settings.items()}) for i in range(k)]
    alone = torch.cat([path(rule, start(1, dtype)) for rule in rows], dim=1)
    tolerance = 2e-6 if dtype == torch.float32 else 1e-12
    assert together.dtype == dtype
    torch.testing.assert_close(together, alone, rtol=tolerance, atol=tolerance)
