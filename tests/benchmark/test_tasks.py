"""What is measured of the tasks; no time is asserted."""

from __future__ import annotations

import math

import pytest
import torch

from rayl2o.benchmark import tasks as measured
from rayl2o.benchmark.modules import module_of
from rayl2o.benchmark.plain_loop import AUTOGRAD, MODULES, plain_loop
from rayl2o.benchmark.tasks import Case, case_rows, cases, side_by_side
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.catalogue import NAMED
from rayl2o.tasks.networks.mlp import MLP
from rayl2o.tasks.registry import task
from rayl2o.tasks.vision.conv_net import ConvNet
from rayl2o.tasks.vision.mobilenet import MobileNetV2
from rayl2o.tasks.vision.nas_cell import NASCell
from rayl2o.tasks.vision.resnet import ResNet


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    monkeypatch.setattr(measured, "BLOCK_S", 0.001)
    monkeypatch.setattr(measured, "REPEATS", 1)
    monkeypatch.setattr(measured, "INSTANCES", (1, 3))


def test_every_named_task_is_a_case() -> None:
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)
    assert set(NAMED) <= set(names)


@pytest.mark.usefixtures("_quick")
def test_a_row_per_number_of_instances_with_its_rival() -> None:
    for case, label, rival in (
        (Case("quadratic"), "quadratic", AUTOGRAD),
        (Case("mlp-orig", "digits"), "mlp-orig (digits)", MODULES),
    ):
        rows = case_rows(case)
        assert [row.name for row in rows] == [f"{label}: K = 1", f"{label}: K = 3"]
        assert {row.against for row in rows} == {rival}
        for row in rows:
            assert math.isfinite(row.value)
            assert row.value > 0
            assert row.ratio is not None


@pytest.mark.usefixtures("_quick")
def test_a_task_without_its_data_is_left_out() -> None:
    assert case_rows(Case("mlp", "mnist")) == []


@pytest.mark.usefixtures("_quick")
def test_large_tasks_are_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "MOST_FLOATS", 5)
    assert [row.name for row in case_rows(Case("quadratic"))] == ["quadratic: K = 1"]


def test_both_sides_do_inner_steps_that_lower_the_loss() -> None:
    family = Quadratic(3, 0.0, 0.0)
    for step in (side_by_side(family, 2), plain_loop(family, 2)[0]):
        first, last = (torch.as_tensor([step() for _ in range(2)][i]) for i in (0, 1))
        assert (last < first).all()


def test_a_module_has_the_layers_of_its_family() -> None:
    families = (
        MLP(hidden=(5, 4), activation="tanh"),
        ConvNet(channels=(3, 4)),
        NASCell(width=3),
        task("resnet-small"),
        task("mobilenet-small"),
    )
    for family in families:
        assert isinstance(family, MLP | ConvNet | NASCell | ResNet | MobileNetV2)
        make = module_of(family)
        assert make is not None
        assert sum(p.numel() for p in make().parameters()) == family.layout.size
        step, against = plain_loop(family, 2)
        assert against == MODULES
        assert len(torch.as_tensor(step())) == 2
    assert module_of(Quadratic()) is None
