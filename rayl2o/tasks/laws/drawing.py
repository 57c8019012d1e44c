"""Laws of what is drawn: specs, starts and minibatches depend on their seeds, on all of them, and on nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

import numpy as np
import torch
from torch import Tensor

from rayl2o.errors import UserError, shorten
from rayl2o.layout import Layout
from rayl2o.seeds import generator as seeded
from rayl2o.tasks.base import TaskBatch, TaskSpec
from rayl2o.tasks.laws.case import Case


def evaluations(tasks: TaskBatch, seeds: list[int], params: Tensor, vector: Tensor) -> dict[str, Tensor]:
    """All that instances compute, by name: losses, gradients, Hessian-vector products, differentiable losses."""
    batch = tasks.draw_batch(seeds)
    loss, grad = tasks.loss_and_grad(params, batch)
    return {
        "loss": loss,
        "gradient": grad,
        "hvp": tasks.hvp(params, batch, vector),
        "differentiable loss": tasks.loss(params, batch),
    }


def first_difference(one: dict[str, Tensor], two: dict[str, Tensor]) -> str | None:
    """Where two evaluations differ in any bit, with the first numbers that do; NaN equals NaN."""
    for name, value in one.items():
        other = two[name]
        if value.shape != other.shape:
            return f"{name} of shape {tuple(value.shape)} and {tuple(other.shape)}"
        differ = (value != other) & ~(torch.isnan(value) & torch.isnan(other))
        if bool(differ.any()):
            return f"{name} {float(value[differ][0]):.9g} and {float(other[differ][0]):.9g}"
    return None


@contextmanager
def global_generators() -> Iterator[list[str]]:
    """Restores the global generators of torch, numpy and random at the end; the list then names those that were touched."""
    touched: list[str] = []
    # The legacy interface of numpy is the one that has a global generator.
    before = torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002
    try:
        yield touched
    finally:
        if not torch.equal(torch.get_rng_state(), before[0]):
            touched.append("torch")
            torch.set_rng_state(before[0])
        if repr(np.random.get_state(legacy=False)) != repr(before[1]):  # noqa: NPY002
            touched.append("numpy")
            np.random.set_state(before[1])  # noqa: NPY002
        if random.getstate() != before[2]:
            touched.append("random")
            random.setstate(before[2])


def sample(case: Case) -> str | None:
    """``sample`` gives a :class:`TaskSpec`, and equal generators give equal specs."""
    one, two = (_drawn(case, "sample") for _ in range(2))
    if not isinstance(one, TaskSpec):
        return f"sample gives {shorten(one)}, no TaskSpec"
    return None if one == two else f"equal generators drew {shorten(one)} and {shorten(two)}"


def _settings(family: object) -> Sequence[str]:
    """Names of a family's settings: its fields, unless it says otherwise."""
    names: Sequence[str] = getattr(family, "setting_names", ())
    return names or ([f.name for f in fields(family) if f.init] if is_dataclass(family) else ())


def _drawn(case: Case, purpose: str) -> object:
    """A spec, or what a family takes for one."""
    return case.family.sample(seeded("laws", purpose))


def survives_json(case: Case) -> str | None:
    """A spec equals its copy through JSON; a spec of the family's own class has all its settings, because a default may be
    another one next year; and the family that a spec names draws specs of the same settings.
    """
    spec = case.family.sample(seeded("laws", "json"))
    try:
        again = TaskSpec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False)))
    except (TypeError, ValueError) as error:
        return f"{shorten(spec)} is not plain data ({error})"
    if again != spec:
        return f"{shorten(spec)} came back as {shorten(again)}"
    try:
        kin = case.family_of(again)
    except UserError as error:
        return f"its own spec is refused ({error})"
    if type(kin) is type(case.family) and (missing := [name for name in _settings(kin) if name not in spec.settings]):
        return f"the spec {shorten(spec)} lacks the setting {missing[0]!r}"
    redrawn = kin.sample(seeded("laws", "json"))
    if (redrawn.family, redrawn.settings) != (spec.family, spec.settings):
        return f"the family of {shorten(spec)} draws {shorten(redrawn)}"
    return None


def shapes(case: Case) -> str | None:
    """K, layout, shapes ``[K]`` and ``[K, D]``, and the dtype asked for, float32 and float64."""
    for dtype in (torch.float32, torch.float64):
        tasks = case.build(dtype=dtype)
        if tasks.k != case.k:
            return f"{case.k} specs gave k = {tasks.k}"
        layout = getattr(case.family, "layout", None)
        if isinstance(layout, Layout) and layout != tasks.layout:
            return f"the layout of the family is {shorten(layout)}, that of its instances {shorten(tasks.layout)}"
        size = (case.k, tasks.layout.size)
        params = tasks.init_params(case.seeds)
        found = {"init_params": params}
        if tuple(params.shape) == size and params.dtype == dtype:
            found |= evaluations(tasks, case.seeds, params, params.clone())
        for name, value in found.items():
            expected = size[:1] if "loss" in name else size
            if (tuple(value.shape), value.dtype) != (expected, dtype):
                return f"{name} is {tuple(value.shape)} {value.dtype}, not {expected} {dtype}"
    return None


def finite_start(case: Case) -> str | None:
    """Fresh params, their losses and gradients are finite."""
    loss, grad = case.tasks.loss_and_grad(case.start, case.batch)
    for name, value in {"params": case.start, "loss": loss, "gradient": grad}.items():
        rows = ~torch.isfinite(value.reshape(case.k, -1)).all(1)
        if bool(rows.any()):
            return f"{name} of instance {int(rows.nonzero()[0])} is not finite at its start"
    return None


def global_randomness(case: Case) -> str | None:
    """No global generator (torch, numpy, random) is read or seeded: others draw from them too."""
    with global_generators():
        torch.rand(1)  # all three move on, so that seeding one as it was seeded before is seen
        np.random.rand()  # noqa: NPY002
        random.random()
        with global_generators() as touched:
            case.family.sample(seeded("laws", "global"))
            tasks = case.build()
            evaluations(tasks, case.seeds, tasks.init_params(case.seeds), case.vector)
    return f"the global generator of {touched[0]} was used" if touched else None


def reproducible(case: Case) -> str | None:
    """Equal specs and seeds give equal bits, from any instance built of them, and from the family that a spec names."""
    start = {"init_params": case.start}
    first = evaluations(case.tasks, case.seeds, case.near, case.vector)
    for who, family in (
        ("the same family", case.family),
        ("the family that its spec names", case.family_of(case.specs[0])),
    ):
        tasks = family.build(case.specs, dtype=torch.float64)
        if difference := first_difference(start, {"init_params": tasks.init_params(case.seeds)}):
            return f"{who} built twice gives {difference}"
        if difference := first_difference(first, evaluations(tasks, case.seeds, case.near, case.vector)):
            return f"{who} built twice gives {difference}"
    return None


def own_seed(case: Case) -> str | None:
    """Start and minibatch of an instance depend on its own seed only: exchanged seeds exchange them (starts to the bit,
    losses on minibatches to 1e-10), whatever the other seeds are.
    """
    tasks = case.build([case.specs[0]] * case.k)
    seeds, mirrored = case.seeds, case.seeds[::-1]
    one, two = tasks.init_params(seeds), tasks.init_params(mirrored).flip(0)
    if difference := first_difference({"init_params": one}, {"init_params": two}):
        return f"with the seeds in another order: {difference}"
    same = case.near[:1].expand(case.k, -1).contiguous()
    losses, others = (tasks.loss_and_grad(same, tasks.draw_batch(order))[0] for order in (seeds, mirrored))
    shared = tasks.loss_and_grad(same, tasks.draw_batch([seeds[0]] * case.k))[0]
    for found in (others.flip(0)[:1], shared):
        if not torch.allclose(found, losses[:1].expand_as(found), rtol=1e-10, atol=1e-12):
            return f"one minibatch seed gives the losses {float(losses[0]):.9g} and {float(found[-1]):.9g}"
    return None
