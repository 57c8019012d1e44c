"""The rival of tasks side by side: what anyone would write in PyTorch, a loop over K modules with autograd."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rayl2o.benchmark.modules import module_of
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.data import load
from rayl2o.tasks.registry import build

MODULES, AUTOGRAD = "nn.Module + autograd, in a loop", "autograd, in a loop"
LR = 1e-4
"""Small: nothing may diverge while it is timed."""


def plain_loop(family: TaskFamily, k: int) -> tuple[Callable[[], object], str]:
    """One inner step of each of K instances in a loop, and what it is called.

    Modules of ``torch.nn`` where the family is a network that they can express, else autograd through the family's own loss of
    one instance at a time.
    """
    module = module_of(family)
    if module is None:
        return _autograd(family, k), AUTOGRAD
    return _modules(family, module, k), MODULES


def _modules(family: Any, make: Callable[[], nn.Module], k: int) -> Callable[[], object]:
    data = load(family.data, family.split)
    shuffled = generator("benchmark", "plain loop")
    centre = getattr(family, "centre", 0.0)
    # Of a network for some of the classes the labels are anything in range: they cost no time.
    labels = data.labels.remainder(len(getattr(family, "classes", ())) or data.classes)
    models = [make() for _ in range(k)]
    optimizers = [torch.optim.SGD(model.parameters(), lr=LR) for model in models]

    def step() -> object:
        losses = []
        for model, optimizer in zip(models, optimizers, strict=True):
            rows = torch.randint(len(data.labels), (family.batch_size,), generator=shuffled)
            optimizer.zero_grad()
            inputs = data.inputs[rows] - centre if centre else data.inputs[rows]
            loss = cross_entropy(model(inputs), labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        return losses

    return step


def _autograd(family: TaskFamily, k: int) -> Callable[[], object]:
    rng = generator("benchmark", "tasks")
    tasks = [build([family.sample(rng)]) for _ in range(k)]
    points = [one.init_params([i]).requires_grad_() for i, one in enumerate(tasks)]
    optimizers = [torch.optim.SGD([point], lr=LR) for point in points]
    ticks = count()

    def step() -> object:
        at, losses = next(ticks), []
        for i, (one, point, optimizer) in enumerate(zip(tasks, points, optimizers, strict=True)):
            optimizer.zero_grad()
            loss: Tensor = one.loss(point, one.draw_batch([derive_seed("benchmark", "batch", i, at)])).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        return losses

    return step
