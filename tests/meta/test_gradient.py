"""Gradients made elsewhere: how they are combined, and what they tell the metrics."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rayl2o.meta.estimators import rtg, rtg_worker
from rayl2o.meta.gradient import Gradient, combine, diverged, mean_loss, tally
from rayl2o.meta.learner import meta_gradient
from rayl2o.meta.losses import imitation_loss, rtg_loss
from rayl2o.meta.training import Job, TrainConfig
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.segment import DIVERGED, TEACHER, Segment
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket

RULE = make("rnnprop-small", {"output_scale": 0.1})
FAMILY = task("quadratic")
PHI = RULE.init_phi(generator("phi"), dtype=torch.float64)
UNROLL = UnrollConfig(steps=5, dtype="float64", credit="exact", sampling="importance", coords_per_row=4)
CONFIG = TrainConfig(unroll=UNROLL)


def _job(slot: int, k: int, behaviour: str = "student") -> Job:
    teachers = ("adam:lr=0.01",) if behaviour == TEACHER else ()
    specs = tuple(FAMILY.sample(generator("t", slot, i)) for i in range(k))
    return Job(Ticket("r", 0, slot, 0, specs, 100, behaviour, teachers), None, 0)


def _both(jobs: list[Job]) -> tuple[list[Segment], list[Gradient]]:
    segments = [rtg(RULE, CONFIG, PHI, job)[0] for job in jobs]
    return segments, [rtg_worker(RULE, CONFIG, PHI, job)[0] for job in jobs]


@pytest.mark.parametrize("behaviour", ["student", TEACHER])
def test_combined_gradients_are_the_gradient_of_the_concatenated_segments(behaviour: str) -> None:
    segments, gradients = _both([_job(0, 1, behaviour), _job(1, 3, behaviour), _job(2, 2, behaviour)])
    loss = imitation_loss if behaviour == TEACHER else rtg_loss
    expected, value = meta_gradient(RULE, PHI, segments, loss)
    combined, objective = combine(gradients)
    assert objective == pytest.approx(float(value), rel=1e-12)
    for name, grad in expected.items():
        assert float(grad.abs().max()) > 0
        torch.testing.assert_close(combined[name], grad, rtol=1e-10, atol=1e-10 * float(grad.abs().max()))


def test_order_of_arrival_does_not_change_a_bit() -> None:
    _, gradients = _both([_job(slot, 1 + slot % 2) for slot in range(5)])
    first, value = combine(gradients)
    for order in ([4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        again, same = combine([gradients[i] for i in order])
        assert same == value
        assert all(torch.equal(again[name], first[name]) for name in first)


def test_a_gradient_tells_what_its_segment_would() -> None:
    (segment,), (gradient,) = _both([_job(0, 3)])
    assert tally(gradient) == tally(segment) == gradient.tally
    assert (gradient.key, gradient.rows, gradient.source) == (segment.key, 3, segment.source)
    assert tally(segment).steps == 15
    assert mean_loss([tally(segment)]) == pytest.approx(float(segment.loss.mean()))


def test_only_finite_losses_that_count_are_tallied() -> None:
    (segment,), _ = _both([_job(0, 2)])
    loss = segment.loss.clone()
    loss[1, 3:] = torch.nan
    broken = replace(
        segment, loss=loss, valid=torch.tensor([5, 2], dtype=torch.int32), status=(segment.status[0], DIVERGED)
    )
    told = tally(broken)
    assert (told.points, told.steps, told.status[1]) == (9, 7, DIVERGED)
    assert told.loss == pytest.approx(float(loss[0].sum() + loss[1, :3].sum()))
    assert diverged([told, tally(segment)]) == 1
    assert mean_loss([]) == 0.0
