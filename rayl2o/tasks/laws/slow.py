"""Laws that take up to seconds, for tests: 1,000 steps leave nothing behind, and Adam makes progress."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import torch

from rayl2o.seeds import derive_seed
from rayl2o.tasks.base import TaskBatch
from rayl2o.tasks.laws.case import Case
from rayl2o.tasks.laws.law import Law

RATES = (0.1, 0.01, 0.001)
"""Learning rates of Adam; one that helps is enough."""
WINDOWS = 4
"""A leak shows in every one of them, a cache that fills up or another thread's work does not."""
_MALLINFO = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
"""Fields of the C library's ``struct mallinfo2``."""


def adam_makes_progress(case: Case, steps: int = 800) -> str | None:
    """Adam lowers the mean loss on 8 minibatches that it was not given, from every start, with one of three rates; looked at
    after 50, 100, 200, ... steps, up to ``steps``, and that of the first look where every instance has made progress.
    """
    many, k = len(RATES), case.k
    tasks = case.build(list(case.specs) * many)
    starts = tasks.init_params(case.seeds * many)
    params = [part.clone().requires_grad_() for part in torch.split(starts, k)]
    adam = torch.optim.Adam([{"params": [part], "lr": lr} for part, lr in zip(params, RATES, strict=True)])
    before, best, look = _held_out(case, tasks, starts)[:k], torch.full((k,), float("inf")), min(50, steps)
    for step in range(1, steps + 1):
        batch = tasks.draw_batch([derive_seed("laws", "adam", step, row) for row in range(k)] * many)
        _, grad = tasks.loss_and_grad(torch.cat([part.detach() for part in params]), batch)
        for part, own in zip(params, torch.split(grad, k), strict=True):
            part.grad = own
        adam.step()
        if step in (look, steps):
            after = _held_out(case, tasks, torch.cat([part.detach() for part in params])).reshape(many, k)
            best = after.nan_to_num(float("inf")).min(0).values
            if bool((best < before).all()):
                return None
            look *= 2
    row = int((~(best < before)).nonzero()[0])
    return f"instance {row} goes from {float(before[row]):.6g} to {float(best[row]):.6g} in {steps} steps"


def memory_does_not_grow(case: Case, steps: int = 1000) -> str | None:
    """Over 1,000 steps of one instance (a minibatch, a gradient; every 10th a Hessian-vector product and a backward pass)
    neither Python's objects nor the native heap grow by as much as 1 object or 64 bytes per step, in every quarter.
    """
    tasks = case.build(case.specs[:1])
    params, vector = case.near[:1].clone(), case.vector[:1]

    def walk(first: int, last: int) -> None:
        for step in range(first, last):
            batch = tasks.draw_batch([derive_seed("laws", "memory", step)])
            tasks.loss_and_grad(params, batch)
            if step % 10 == 0:
                tasks.hvp(params, batch, vector)
                tasks.loss(params.clone().requires_grad_(), batch).sum().backward()  # type: ignore[no-untyped-call]

    size = steps // WINDOWS
    gc.freeze()  # what is there already need not be looked at each time
    try:
        walk(-size // 2, 0)
        marks = [_usage()]
        for window in range(WINDOWS):
            walk(window * size, (window + 1) * size)
            marks.append(_usage())
    finally:
        gc.unfreeze()
    growth = [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(marks)]
    objects, native = (min(window[kind] for window in growth) / size for kind in (0, 1))
    if objects < 1 and native < 64:
        return None
    return f"grows by {objects:.1f} objects and {native:.0f} bytes of the native heap per step"


SLOW_LAWS: tuple[Law, ...] = (
    Law(
        "memory",
        "1,000 steps leave nothing behind, neither objects of Python nor bytes of the native heap",
        "keep no results and no graphs; bound every cache",
        memory_does_not_grow,
    ),
    Law(
        "adam",
        "Adam with a rate of 0.1, 0.01 or 0.001 lowers the mean loss on other minibatches, from every start, in 800 steps",
        "look at the scale of the params, and whether a start can be dead",
        adam_makes_progress,
    ),
)


def _held_out(case: Case, tasks: TaskBatch, params: torch.Tensor) -> torch.Tensor:
    """Mean losses ``[many * K]`` on 8 minibatches per instance, the same for each rate."""
    total = torch.zeros(tasks.k, dtype=torch.float64)
    for draw in range(8):
        seeds = [derive_seed("laws", "held out", draw, row) for row in range(case.k)]
        total += tasks.loss(params, tasks.draw_batch(seeds * (tasks.k // case.k))).detach()
    return total / 8


def _usage() -> tuple[int, int]:
    """Objects of Python, and bytes of the native heap."""
    _forget_types()
    gc.collect()
    return sys.getallocatedblocks(), _heap()()


def _forget_types() -> None:
    """The interpreter's cache of attributes keeps names that were made afresh at every step, up to its size: no leak."""
    clear = getattr(sys, "_clear_internal_caches", None) or getattr(sys, "_clear_type_cache", None)
    if clear is not None:
        clear()


@cache
def _heap() -> Callable[[], int]:
    """Bytes that the C library has given out, which is exact; where it does not say, the most that the process ever had."""

    class Mallinfo2(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO]

    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):  # not glibc 2.33 or later
        import resource

        return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    mallinfo2.restype = Mallinfo2

    def bytes_in_use() -> int:
        now = mallinfo2()
        return int(now.uordblks + now.hblkhd)

    return bytes_in_use
