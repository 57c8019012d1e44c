"""Schedules: their values, their bounds, and how they are written among settings."""

from __future__ import annotations

import json
import math

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.schedules import SCHEDULES, Cosine, Named, Product, Schedule, StepDecay, Warmup, parted

STEPS = torch.arange(12, dtype=torch.float64)


def test_cosine_falls_to_its_floor_and_stays() -> None:
    found = Cosine(8, 0.2).factor(STEPS)
    expected = [0.2 + 0.8 * math.cos(math.pi * t / 16) ** 2 for t in range(8)] + [0.2] * 4  # half-angle form
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    assert found[0] == 1.0
    assert Cosine(8).factor(STEPS)[8:].tolist() == pytest.approx([0.0] * 4)


def test_warmup_rises_in_equal_steps_to_one() -> None:
    assert Warmup(4).factor(STEPS).tolist() == [0.25, 0.5, 0.75] + [1.0] * 9
    assert Warmup(1).factor(STEPS).tolist() == [1.0] * 12


def test_step_decay_is_a_staircase() -> None:
    assert StepDecay(5, 0.5).factor(STEPS).tolist() == [1.0] * 5 + [0.5] * 5 + [0.25] * 2
    assert StepDecay(4, 0.0).factor(STEPS).tolist() == [1.0] * 4 + [0.0] * 8


def test_a_product_multiplies() -> None:
    parts = (Warmup(4), Cosine(8, 0.2), StepDecay(5, 0.5))
    expected = parts[0].factor(STEPS) * parts[1].factor(STEPS) * parts[2].factor(STEPS)
    torch.testing.assert_close(Product(parts).factor(STEPS), expected)
    assert Product(()).factor(STEPS).tolist() == [1.0] * 12


@pytest.mark.parametrize("schedule", [Warmup(4), Cosine(8, 0.2), StepDecay(5, 0.5), Product((Warmup(4), Cosine(8)))])
def test_any_shape_of_steps_in_its_own_dtype(schedule: Schedule) -> None:
    steps = torch.arange(6.0).view(2, 3)
    found = schedule.factor(steps)
    assert (found.shape, found.dtype) == ((2, 3), torch.float32)
    assert schedule.factor(torch.tensor(4.0)).tolist() == pytest.approx(float(found[1, 1]))


def test_late_steps_keep_their_digits_in_float32() -> None:
    late = torch.tensor([99_998.0, 99_999.0, 100_000.0])
    for schedule in (Cosine(100_000, 0.1), StepDecay(100_000, 0.5), Warmup(100_000)):
        exact = schedule.factor(late.double())
        torch.testing.assert_close(schedule.factor(late).double(), exact, rtol=1e-6, atol=1e-6)


def test_arguments_may_be_swept() -> None:
    step = torch.tensor(3.0, dtype=torch.float64)
    horizons, floors = torch.tensor([[4.0], [8.0]]), torch.tensor([[0.0], [0.5]])
    alone = [[float(Cosine(4.0, 0.0).factor(step))], [float(Cosine(8.0, 0.5).factor(step))]]
    together = Cosine(horizons, floors).factor(step)
    torch.testing.assert_close(together, torch.tensor(alone, dtype=torch.float64))
    assert StepDecay(torch.tensor([[1.0], [2.0]]), 0.5).factor(step).tolist() == [[0.125], [0.5]]
    assert StepDecay(2, torch.tensor([[0.1], [0.5]], dtype=torch.float64)).factor(step).tolist() == [[0.1], [0.5]]
    assert Warmup(torch.tensor([[4.0], [8.0]])).factor(step).tolist() == [[1.0], [0.5]]


@pytest.mark.parametrize(
    ("settings", "own", "schedule"),
    [
        ({"lr": "0.1"}, {"lr": "0.1"}, None),
        ({"lr": "0.1", "cosine": "1000"}, {"lr": "0.1"}, Cosine(1000)),
        ({"cosine": "1e3x.1", "lr": "0.1"}, {"lr": "0.1"}, Cosine(1000, 0.1)),
        ({"step_decay": "30x0.5"}, {}, StepDecay(30, 0.5)),
        ({"warmup": "10", "cosine": "100"}, {}, Product((Warmup(10), Cosine(100)))),
        ({"lr": 0.1, "warmup": 10}, {"lr": 0.1}, Warmup(10)),
        ({"hidden": [7], "cosine": [1000, 0.05]}, {"hidden": [7]}, Cosine(1000, 0.05)),
    ],
)
def test_schedules_are_read_from_settings(
    settings: dict[str, object], own: dict[str, object], schedule: Schedule | None
) -> None:
    assert parted(settings) == (own, schedule)


@pytest.mark.parametrize("schedule", [Cosine(9, 0.5), Warmup(3), StepDecay(2), Product((Warmup(3), StepDecay(2)))])
def test_settings_go_through_json_and_back(schedule: Schedule) -> None:
    written = json.loads(json.dumps(schedule.settings()))
    assert parted({"lr": 0.5, **written}) == ({"lr": 0.5}, schedule)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"cosine": "soon"},
            "cannot read the schedule cosine: got 'soon'; write it like cosine=HORIZON or HORIZONxFLOOR",
        ),
        ({"cosine": "1x2x3"}, "cannot read the schedule cosine"),
        ({"cosine": []}, "cannot read the schedule cosine"),
        ({"cosine": True}, "cannot read the schedule cosine"),
        ({"cosine": None}, "cannot read the schedule cosine"),
        ({"cosine": [10, "0.1"]}, "cannot read the schedule cosine"),
        ({"cosine": 10**400}, "cannot read the schedule cosine"),
        ({"warmup": "1x2"}, "cannot read the schedule warmup: got '1x2'; write it like warmup=STEPS"),
        ({"cosine": "0"}, "schedule cosine: horizon out of range: got 0.0; give a number >= 1"),
        ({"cosine": "infx0"}, "schedule cosine: horizon out of range"),
        ({"cosine": "nan"}, "schedule cosine: horizon out of range"),
        ({"cosine": "10x1.5"}, "schedule cosine: floor out of range: got 1.5; give a number in [0, 1]"),
        ({"warmup": 0.5}, "schedule warmup: steps out of range"),
        ({"step_decay": [10, -0.1]}, "schedule step_decay: gamma out of range"),
    ],
)
def test_a_bad_schedule_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parted(settings)
    assert message in str(caught.value)


def test_two_schedules_of_one_name_cannot_be_written() -> None:
    with pytest.raises(UserError, match="a product with two cosine schedules has no settings"):
        Product((Cosine(9), Cosine(3))).settings()


def test_names() -> None:
    assert list(SCHEDULES) == ["cosine", "warmup", "step_decay"]
    with pytest.raises(NotImplementedError):
        Named().factor(STEPS)
