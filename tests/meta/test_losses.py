"""The learner's losses: order does not matter, sampling is unbiased (by enumeration), imitation is what the paper says."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rayl2o.meta.learner import meta_gradient
from rayl2o.meta.losses import columns, imitation_loss, rtg_loss
from rayl2o.rules.base import Inputs, Rule
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.sampling import importance_probabilities, stratified_counts
from rayl2o.unroll.segment import TEACHER, Segment
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket

SIZE = 4
QUADRATIC = task("quadratic", size=SIZE)
RULE: Rule = make("rnnprop-small", {"output_scale": 0.1})
PHI = RULE.init_phi(generator("phi"), dtype=torch.float64)
CONFIG = UnrollConfig(steps=4, dtype="float64")


def _segment(slot: int = 0, k: int = 1, behaviour: str = "student", seed: int = 0) -> Segment:
    draws = generator("losses", seed, slot)
    teachers = ("adam:lr=0.01",) if behaviour == TEACHER else ()
    specs = tuple(QUADRATIC.sample(draws) for _ in range(k))
    return rollout(RULE, CONFIG, Ticket("r", seed, slot, 0, specs, 40, behaviour, teachers), None, PHI)[0]


def _kept(full: Segment, index: tuple[int, ...], weights: Tensor) -> Segment:
    """The segment as if only these coordinates had been drawn."""
    at = torch.tensor([index])
    return replace(
        full,
        coords=at.int(),
        weight=weights[None],
        grad=full.grad[:, :, index],
        credit=full.credit[:, :, index],
        delta=full.delta[:, :, index],
        coord_state=full.coord_state[:, index],
    )


def _gradient(segment: Segment) -> dict[str, Tensor]:
    return meta_gradient(RULE, PHI, [segment])[0]


@pytest.mark.parametrize("scheme", ["importance", "uniform", "stratified"])
def test_sampled_gradient_is_unbiased_by_enumeration(scheme: str) -> None:
    full = _segment()
    expected, mean = _gradient(full), {name: torch.zeros_like(v) for name, v in PHI.items()}
    if scheme == "importance":
        p = importance_probabilities(full.credit[0].square().sum(0).sqrt())
        draws = [
            (i, 1.0 / (2 * p[list(i)]), float(p[list(i)].prod())) for i in itertools.product(range(SIZE), repeat=2)
        ]
    elif scheme == "uniform":
        pairs = list(itertools.combinations(range(SIZE), 2))
        draws = [(i, torch.full((2,), SIZE / 2, dtype=torch.float64), 1 / len(pairs)) for i in pairs]
    else:
        first, second = stratified_counts((1, 3), 2)
        assert (first, second) == (1, 1)
        draws = [((0, i), torch.tensor([1.0, 3.0], dtype=torch.float64), 1 / 3) for i in (1, 2, 3)]
    assert sum(chance for _, _, chance in draws) == pytest.approx(1.0)
    for index, weights, chance in draws:
        for name, grad in _gradient(_kept(full, index, weights)).items():
            mean[name] += chance * grad
    for name, grad in expected.items():
        torch.testing.assert_close(mean[name], grad, rtol=1e-9, atol=1e-12)


def test_order_of_arrival_does_not_matter() -> None:
    segments = [_segment(slot, k=2) for slot in range(3)]
    one, other = (meta_gradient(RULE, PHI, order)[0] for order in (segments, segments[::-1]))
    assert all(torch.equal(one[name], other[name]) for name in PHI)


def test_several_segments_give_the_mean_over_instances() -> None:
    first, second = _segment(0, k=1), _segment(1, k=3)
    together = meta_gradient(RULE, PHI, [first, second])[0]
    for name in PHI:
        mean = (_gradient(first)[name] + 3 * _gradient(second)[name]) / 4
        torch.testing.assert_close(together[name], mean, rtol=1e-9, atol=1e-12)


def test_columns_are_laid_side_by_side() -> None:
    table = columns([_segment(1, k=2), _segment(0, k=1)])
    assert table.grad.shape == (4, 3 * SIZE)
    torch.testing.assert_close(table.grad[:, :SIZE], _segment(0, k=1).grad[0])
    assert table.rows == 3
    assert table.size.tolist() == [SIZE] * 3 * SIZE


def test_padding_changes_nothing() -> None:
    full = _segment()
    padded = _kept(full, (0, 1, 2, 3, 0), torch.tensor([1.0, 1, 1, 1, 0], dtype=torch.float64))
    for name, grad in _gradient(full).items():
        torch.testing.assert_close(_gradient(padded)[name], grad)


def test_imitation_is_half_the_mean_square_summed_over_the_window() -> None:
    segment = _segment(k=2, behaviour=TEACHER)
    deltas, state = [], {"coord": segment.coord_state}
    for s in range(segment.steps):
        step = torch.tensor(float(s), dtype=torch.float64)
        delta, state = RULE.update(PHI, _inputs(segment.grad[:, s], step), state)
        deltas.append(delta)
    miss = torch.stack(deltas, 1) - segment.delta
    by_hand = 0.5 * miss.square().mean(2).sum(1).mean()
    torch.testing.assert_close(imitation_loss(RULE, PHI, [segment]), by_hand)


def _inputs(grad: Tensor, step: Tensor) -> Inputs:
    return Inputs(grad=grad, step=step)


def test_imitating_oneself_costs_nothing() -> None:
    own = _segment()
    assert float(imitation_loss(RULE, PHI, [own])) == pytest.approx(0.0, abs=1e-20)


def test_steps_after_divergence_do_not_count() -> None:
    segment = _segment(behaviour=TEACHER)
    cut = replace(segment, valid=torch.tensor([2], dtype=torch.int32))
    junk = replace(cut, delta=torch.cat([cut.delta[:, :2], torch.full_like(cut.delta[:, 2:], 1e9)], 1))
    torch.testing.assert_close(imitation_loss(RULE, PHI, [cut]), imitation_loss(RULE, PHI, [junk]))


def test_rtg_value_is_differentiable_only_through_the_rule() -> None:
    leaves = {name: value.clone().requires_grad_() for name, value in PHI.items()}
    rtg_loss(RULE, leaves, [_segment()]).backward()  # type: ignore[no-untyped-call]
    assert all(leaf.grad is not None and bool(torch.isfinite(leaf.grad).all()) for leaf in leaves.values())
