"""Laws of the derivatives, in float64: they agree with each other, with finite differences, and with autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rayl2o.tasks.laws.case import Case

STEPS = (1e-5, 1e-6, 1e-7, 1e-4, 1e-8, 1e-3, 1e-2)
"""Steps of the differences, best first. One that fits is enough: a wrong derivative fits none, a right one fails where the
step is too long for the curvature, crosses a kink, or drowns in rounding.
"""
SLOPE, CURVATURE, EXACT = 1e-5, 1e-4, 1e-8
"""Relative errors allowed: of a slope by differences, of a Hessian-vector product by differences, of a tensor by autograd."""
_EPS = torch.finfo(torch.float64).eps


def loss_agrees(case: Case) -> str | None:
    """``loss`` and ``loss_and_grad`` give the same losses, to 1e-10."""
    for where, point in case.points.items():
        one, two = case.tasks.loss(point, case.batch).detach(), case.tasks.loss_and_grad(point, case.batch)[0]
        bad = ~torch.isclose(one, two, rtol=1e-10, atol=1e-12)
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            return f"instance {row} {where}: {float(one[row]):.9g} by loss, {float(two[row]):.9g} by loss_and_grad"
    return None


def gradient(case: Case) -> str | None:
    """The slope along a random direction is that of central differences of the losses, to 1e-5 of the gradient's norm."""
    v, batch = case.vector, case.batch
    for where, x in case.points.items():
        grad = case.tasks.loss_and_grad(x, batch)[1]
        slope, norm = (grad * v).sum(1), grad.norm(dim=1)

        def differences(h: float, x: Tensor = x) -> tuple[Tensor, Tensor]:
            up, down = (case.tasks.loss_and_grad(x + sign * h * v, batch)[0] for sign in (1, -1))
            return (up - down) / (2 * h), 10 * _EPS * (up.abs() + down.abs()) / h

        errors, found = _best(slope, differences, SLOPE * norm)
        if errors is not None:
            row = int(errors.nonzero()[0])
            return (
                f"instance {row} {where} has the slope {float(slope[row]):.6g}, by differences {float(found[row]):.6g}"
            )
    return None


def hessian(case: Case) -> str | None:
    """A Hessian-vector product is that of central differences of the gradients, to 1e-4 of its norm."""
    v, batch = case.vector, case.batch
    for where, x in case.points.items():
        product = case.tasks.hvp(x, batch, v)

        def differences(h: float, x: Tensor = x) -> tuple[Tensor, Tensor]:
            up, down = (case.tasks.loss_and_grad(x + sign * h * v, batch)[1] for sign in (1, -1))
            return (up - down) / (2 * h), 10 * _EPS * (up.norm(dim=1) + down.norm(dim=1)) / h

        errors, found = _best(product, differences, CURVATURE * product.norm(dim=1))
        if errors is not None:
            row = int(errors.nonzero()[0])
            worst = int((product[row] - found[row]).abs().argmax())
            return (
                f"instance {row} {where}: coordinate {worst} of the product is {float(product[row, worst]):.6g}, "
                f"by differences {float(found[row, worst]):.6g}"
            )
    return None


def autograd(case: Case) -> str | None:
    """Gradient and Hessian-vector product are those of autograd through ``loss``, to 1e-8 of each tensor's norm."""
    for where, point in case.points.items():
        x = point.clone().requires_grad_()
        total = case.tasks.loss(x, case.batch).sum()
        (grad,) = torch.autograd.grad(total, x, create_graph=True)
        product = torch.zeros_like(x)
        if grad.requires_grad:  # else the losses are linear
            (product,) = torch.autograd.grad(grad, x, case.vector, allow_unused=True, materialize_grads=True)
        ours = {
            "gradient": (case.tasks.loss_and_grad(point, case.batch)[1], grad.detach()),
            "hvp": (case.tasks.hvp(point, case.batch, case.vector), product.detach()),
        }
        for name, (found, expected) in ours.items():
            if breach := _tensor_that_differs(case, found, expected):
                return f"{name} {where}, {breach}"
    return None


def _tensor_that_differs(case: Case, found: Tensor, expected: Tensor) -> str | None:
    """By tensor, because that of a deep layer may be far smaller than the others and still has to be right."""
    layout = case.tasks.layout
    whole = expected.norm(dim=1)
    for name, begin, size in zip(layout.names, layout.offsets, layout.sizes, strict=True):
        one, two = found[:, begin : begin + size], expected[:, begin : begin + size]
        error = (one - two).norm(dim=1)
        bad = ~(error <= EXACT * two.norm(dim=1) + 1e-11 * whole + 1e-13)
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            return (
                f"tensor {name!r} of instance {row} is off by {float(error[row]):.3g} of {float(two[row].norm()):.3g}"
            )
    return None


def _best(
    value: Tensor, differences: Callable[[float], tuple[Tensor, Tensor]], allowed: Tensor
) -> tuple[Tensor | None, Tensor]:
    """Rows for which no step fits (None if there are none), and the differences that came closest.

    Args:
        value: ``[K]`` or ``[K, D]``.
        differences: A step to the same by differences, and the rounding error that it has, ``[K]``.
        allowed: Absolute error ``[K]`` beside that.
    """
    closest, least = torch.full_like(value, float("nan")), torch.full_like(allowed, float("inf"))
    wrong = torch.ones_like(allowed, dtype=torch.bool)
    for h in STEPS:
        found, rounding = differences(h)
        error = (found - value).reshape(len(value), -1).norm(dim=1)
        better = (error < least).reshape(-1, *(1,) * (value.dim() - 1))
        closest, least = torch.where(better, found, closest), torch.minimum(error.nan_to_num(float("inf")), least)
        wrong = wrong & ~(error <= allowed + rounding + 1e-12)
        if not bool(wrong.any()):
            return None, closest
    return wrong, closest
