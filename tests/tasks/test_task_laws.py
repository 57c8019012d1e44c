"""One table: every family x the laws of a task (:mod:`rayl2o.tasks.laws`), and what is asked of our own beyond them.

Rows are those below and ``ROWS`` of every ``law_rows_*.py`` beside this file.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rayl2o.tasks.base import TaskBatch, TaskFamily, TaskSpec
from rayl2o.tasks.laws import check
from rayl2o.tasks.laws.case import Case
from rayl2o.tasks.laws.elsewhere import fingerprint, fingerprints_elsewhere
from rayl2o.tasks.laws.slow import adam_makes_progress, memory_does_not_grow
from rayl2o.tasks.registry import build, family_of, task

K = 5
LIGHT = 200
"""Coordinates up to which 1,000 steps take a quarter of a second; others take 200, whose growth per step is as exact."""


def _table() -> dict[str, TaskFamily]:
    rows: dict[str, TaskFamily] = {
        "quadratic": task("quadratic"),
        "quadratic-12": task("quadratic", size=12, log10_smallest=-1.0, log10_largest=1.0),
        **{name: task(name, batch_size=16) for name in ("mlp-orig", "mlp-relu", "mlp-deeper")},
        "mlp-tanh-deep": task("mlp", hidden=(7, 6, 5), activation="tanh", batch_size=16),
        "mlp-relu-deep": task("mlp", hidden=(9, 8), activation="relu", batch_size=16),
        "mlp-softmax-regression": task("mlp", hidden=(), batch_size=16, split="test"),
    }
    for path in sorted(Path(__file__).parent.glob("law_rows_*.py")):
        more = importlib.import_module(f"tests.tasks.{path.stem}").ROWS
        if twice := set(rows) & set(more):
            raise ValueError(f"two rows of one name: {sorted(twice)}")
        rows |= more
    return rows


FAMILIES = _table()


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> TaskFamily:
    return FAMILIES[request.param]


def specs_of(family: TaskFamily, k: int = K) -> list[TaskSpec]:
    return list(Case(family, family_of, k).specs)


def point(batch: TaskBatch, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Params far enough from the initialisation for curvature to show."""
    rng = torch.Generator().manual_seed(seed)
    return (0.4 * torch.randn(batch.k, batch.layout.size, generator=rng, dtype=torch.float64)).to(dtype)


def test_the_laws_that_a_plugin_must_keep(family: TaskFamily) -> None:
    assert [str(breach) for breach in check(family, family_of, k=3)] == []


def test_memory_does_not_grow(family: TaskFamily) -> None:
    case = Case(family, family_of)
    thorough = case.tasks.layout.size <= LIGHT or "RAYL2O_SLOW_TESTS" in os.environ
    assert memory_does_not_grow(case, steps=1000 if thorough else 200) is None


def test_adam_makes_progress(family: TaskFamily) -> None:
    assert adam_makes_progress(Case(family, family_of)) is None


def test_the_same_specs_are_the_same_problems_in_another_process() -> None:
    specs = {name: specs_of(family, 2) for name, family in FAMILIES.items()}
    here = {name: fingerprint(build(group)) for name, group in specs.items()}
    assert fingerprints_elsewhere(specs) == here


def test_float32_is_the_same_task(family: TaskFamily) -> None:
    specs = specs_of(family)
    single, double = build(specs, dtype=torch.float32), build(specs, dtype=torch.float64)
    torch.testing.assert_close(
        single.init_params(range(K)).double(), double.init_params(range(K)), rtol=1e-6, atol=1e-6
    )
    x = point(double, 0)
    one, two = single.draw_batch(range(K)), double.draw_batch(range(K))
    for low, high in zip(single.loss_and_grad(x.float(), one), double.loss_and_grad(x, two), strict=True):
        torch.testing.assert_close(low.double(), high, rtol=1e-4, atol=1e-5)


def test_equal_seeds_give_equal_minibatches_and_others_do_not(family: TaskFamily) -> None:
    tasks = build([specs_of(family)[0]] * K, dtype=torch.float64)
    x = point(tasks, 0)[:1].expand(K, -1)
    seeds = [7, 8, 7, 9, 7]
    losses, _ = tasks.loss_and_grad(x, tasks.draw_batch(seeds))
    torch.testing.assert_close(losses[0].expand(2), losses[[2, 4]], rtol=1e-13, atol=0)
    if tasks.draw_batch(seeds) is not None:
        assert len({round(value, 9) for value in losses.tolist()}) == 3


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
def test_instances_never_mix_in_float32(family: TaskFamily, poison: float) -> None:
    """Not even where one has diverged, whether minibatches are shared or not."""
    tasks = build(specs_of(family))
    x, v = point(tasks, 0, torch.float32), point(tasks, 1, torch.float32)
    sick, others = x.clone(), [0, 1, 3, 4]
    sick[2] = poison

    def results(params: Tensor, seeds: list[int]) -> list[Tensor]:
        batch = tasks.draw_batch(seeds)
        return [*tasks.loss_and_grad(params, batch), tasks.hvp(params, batch, v), tasks.loss(params, batch)]

    for seeds in (list(range(K)), [2] * K):
        for bad, good in zip(results(sick, seeds), results(x, seeds), strict=True):
            assert torch.equal(bad[others], good[others])


def test_wrong_number_of_seeds_is_a_bug_of_the_caller(family: TaskFamily) -> None:
    tasks = build(specs_of(family))
    with pytest.raises(ValueError, match="one seed per instance"):
        tasks.init_params([1])
    with pytest.raises(ValueError, match="one seed per instance"):
        tasks.draw_batch([1])
