"""Laws of an evaluation: it mutates nothing, remembers nothing, leaves no graph, and keeps its instances apart."""

from __future__ import annotations

import torch
from torch import Tensor

from rayl2o.tasks.laws.case import Case
from rayl2o.tasks.laws.drawing import evaluations, first_difference

ALONE = 1e-9
"""Relative error (of a row's norm) allowed between an instance alone and among others: kernels differ with K."""
SINGLE = 1e-2
"""Relative error allowed between float32 and float64 at the start: the same task, not the same rounding."""


def arguments_unchanged(case: Case) -> str | None:
    """Params and vectors are as they were, and are not written to; results are not views of them."""
    tasks, batch = case.tasks, case.batch
    params, vector = case.near.clone(), case.vector.clone()
    versions = params._version, vector._version
    loss, grad = tasks.loss_and_grad(params, batch)
    product = tasks.hvp(params, batch, vector)
    tasks.loss(params, batch)
    for name, value, version, kept in (
        ("tensor of params", params, versions[0], case.near),
        ("vector", vector, versions[1], case.vector),
    ):
        if value._version != version or first_difference({name: value}, {name: kept}):
            return f"the {name} passed in was written to"
    for name, value in {"loss": loss, "gradient": grad, "hvp": product}.items():
        if any(_overlap(value, argument) for argument in (params, vector)):
            return f"the {name} that is returned is a view of an argument"
    return None


def nothing_remembered(case: Case) -> str | None:
    """What is computed does not depend on what was computed before, and results stay as they are when more is computed."""
    tasks = case.tasks
    start = tasks.init_params(case.seeds)
    first = evaluations(tasks, case.seeds, case.near, case.vector)
    kept = {name: value.detach().clone() for name, value in first.items()}
    tasks.init_params(case.seeds).add_(1.0)  # an optimizer may update params in place
    elsewhere = (case.near + 0.1 * case.vector).requires_grad_()
    others = evaluations(tasks, [seed + 1 for seed in case.seeds], elsewhere, case.vector)
    others["differentiable loss"].sum().backward()  # type: ignore[no-untyped-call]
    if difference := first_difference(kept, first):
        return f"a result was overwritten by a later call: {difference}"
    if difference := first_difference(kept, evaluations(tasks, case.seeds, case.near, case.vector)):
        return f"the same call after another one gives {difference}"
    if difference := first_difference({"init_params": start}, {"init_params": tasks.init_params(case.seeds)}):
        return f"the same start after another one is {difference}"
    return None


def no_graph(case: Case) -> str | None:
    """``loss_and_grad`` and ``hvp`` build no graph and fill no ``.grad``, and work under ``torch.no_grad()`` too; ``loss``
    can be differentiated.
    """
    tasks, batch = case.tasks, case.batch
    params = case.near.clone().requires_grad_()
    loss, grad = tasks.loss_and_grad(params, batch)
    for name, value in {"loss": loss, "gradient": grad, "hvp": tasks.hvp(params, batch, case.vector)}.items():
        if value.requires_grad:
            return f"the {name} requires grad"
    if params.grad is not None:
        return "params.grad was filled"
    if not tasks.loss(params, batch).requires_grad:
        return "loss() is cut off from its params"
    with torch.no_grad():
        tasks.loss_and_grad(case.near, batch)
        tasks.hvp(case.near, batch, case.vector)
    return None


def apart(case: Case) -> str | None:
    """No result of an instance changes by a bit when another one's params do, not even when they become NaN, infinite or
    huge, minibatches shared or not.
    """
    for row, poison in enumerate((None, float("nan"), float("inf"), 1e200)):
        row %= case.k
        other = case.near.clone()
        other[row] = other[row] + case.vector[row] if poison is None else poison
        rest = [index for index in range(case.k) if index != row]
        changed = "other" if poison is None else str(poison)
        for seeds in (case.seeds, [case.seeds[0]] * case.k):
            well = evaluations(case.tasks, seeds, case.near, case.vector)
            try:
                ill = evaluations(case.tasks, seeds, other, case.vector)
            except Exception as error:
                return f"{changed} params of instance {row} raise {type(error).__name__} for all ({error})"
            pairs = [{name: value[rest] for name, value in both.items()} for both in (well, ill)]
            if difference := first_difference(*pairs):
                return f"{changed} params of instance {row} change those of another one: {difference}"
    return None


def alone(case: Case) -> str | None:
    """An instance alone is the instance among others: its start to the bit, the rest to 1e-9 of the row's norm."""
    together = evaluations(case.tasks, case.seeds, case.near, case.vector)
    for row in range(case.k):
        own = slice(row, row + 1)
        tasks = case.build(case.specs[own])
        start = {"init_params": tasks.init_params(case.seeds[own])}
        if difference := first_difference(start, {"init_params": case.start[own]}):
            return f"instance {row} alone and among {case.k} starts with {difference}"
        for name, value in evaluations(tasks, case.seeds[own], case.near[own], case.vector[own]).items():
            error, size = float((value - together[name][own]).norm()), float(value.norm())
            if not error <= ALONE * size + 1e-12:
                return f"{name} of instance {row} alone and among {case.k} differs by {error:.3g} of {size:.3g}"
    return None


def float32(case: Case) -> str | None:
    """In float32 it is the same task: starts, and losses and gradients there, agree to 1e-2 of their norms."""
    tasks = case.build(dtype=torch.float32)
    start = tasks.init_params(case.seeds)
    low = start, *tasks.loss_and_grad(start, tasks.draw_batch(case.seeds))
    high = case.start, *case.tasks.loss_and_grad(start.double(), case.batch)
    for name, one, two in zip(("start", "loss", "gradient"), low, high, strict=True):
        for row in range(case.k):
            error, size = float((one[row].double() - two[row]).norm()), float(two[row].norm())
            if not error <= SINGLE * size + 1e-5:
                return f"{name} of instance {row} in float32 is off by {error:.3g} of {size:.3g}"
    return None


def _overlap(one: Tensor, two: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == two.untyped_storage().data_ptr() and one.numel() > 0
