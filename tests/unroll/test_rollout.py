"""Laws of a roll-out: determined by its arguments, continues exactly, divergence is a status, errors are named."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.rules.registry import make, parse_rule
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.seeds import generator
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout, student_only
from rayl2o.unroll.segment import DIVERGED, MIX, OK, TEACHER, Segment
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.step_seeds import batch_seeds
from rayl2o.unroll.ticket import Ticket

MLP = task("mlp", activation="sigmoid", data="digits", hidden=(5,))
RULE = make("rnnprop-small", {})
PHI = RULE.init_phi(generator("phi"))
CONFIG = UnrollConfig(steps=5)


def _ticket(k: int = 2, **settings: object) -> Ticket:
    draws = generator("tasks")
    specs = tuple(MLP.sample(draws) for _ in range(k))
    return replace(Ticket("run", 11, 1, 2, specs, 100), **settings)  # type: ignore[arg-type]


def _tensors(segment: Segment) -> dict[str, Tensor]:
    values = {f.name: getattr(segment, f.name) for f in fields(segment)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


@pytest.mark.parametrize("sampling", ["all", "importance", "uniform", "stratified"])
@pytest.mark.parametrize("credit", ["first_order", "exact"])
def test_equal_arguments_give_equal_bytes(sampling: str, credit: str) -> None:
    config = replace(CONFIG, sampling=sampling, coords_per_row=20, credit=credit)
    ticket = _ticket(behaviour=MIX, teachers=("adam:lr=0.01", "sgd:lr=0.1"), teacher_share=0.5)
    (first, after), (second, _) = (rollout(RULE, config, ticket, None, PHI) for _ in range(2))
    assert first.source == second.source
    for name, value in _tensors(first).items():
        assert torch.equal(value, _tensors(second)[name]), name
    assert first.coords.shape == (2, MLP.build(ticket.specs).layout.size if sampling == "all" else 20)
    assert (after.step, after.segment) == (5, 1)


def test_global_randomness_is_not_used() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    config = replace(CONFIG, sampling="importance", coords_per_row=9)
    rollout(RULE, config, _ticket(behaviour=MIX, teachers=("sgd:lr=0.1",), teacher_share=0.5), None, PHI)
    assert torch.equal(before, torch.random.get_rng_state())


def test_two_short_segments_walk_the_path_of_a_long_one() -> None:
    ticket = _ticket()
    long, end = rollout(RULE, replace(CONFIG, steps=10), ticket, None, PHI)
    first, middle = rollout(RULE, CONFIG, ticket, None, PHI)
    second, last = rollout(RULE, CONFIG, ticket, middle, PHI)
    torch.testing.assert_close(torch.cat([first.loss, second.loss[:, 1:]], 1), long.loss)
    torch.testing.assert_close(torch.cat([first.delta, second.delta], 1), long.delta)
    torch.testing.assert_close(last.params, end.params)
    assert second.source.start_step == 5
    assert second.source.segment == 1


def test_instances_do_not_mix() -> None:
    pair, _ = rollout(RULE, CONFIG, _ticket(2), None, PHI)
    alone, _ = rollout(RULE, CONFIG, _ticket(1), None, PHI)
    torch.testing.assert_close(pair.loss[:1], alone.loss, rtol=1e-5, atol=1e-6)


def test_the_record_is_what_happened() -> None:
    ticket = _ticket(1)
    segment, end = rollout(RULE, CONFIG, ticket, None, PHI)
    batch = MLP.build(ticket.specs)
    loss, grad = batch.loss_and_grad(end.params, batch.draw_batch(batch_seeds(ticket, 5)))
    torch.testing.assert_close(loss, segment.loss[:, -1])
    torch.testing.assert_close(grad, end.grad)
    start = end.params - segment.delta.sum(1)
    loss, grad = batch.loss_and_grad(start, batch.draw_batch(batch_seeds(ticket, 0)))
    torch.testing.assert_close(loss, segment.loss[:, 0])
    torch.testing.assert_close(grad, segment.grad[:, 0], rtol=1e-3, atol=1e-6)


def test_a_teacher_makes_the_teacher_s_trajectory() -> None:
    """Adam as teacher walks exactly where Adam as student walks, and the student listens all the while."""
    adam = parse_rule("adam:lr=0.01")
    ticket = _ticket(behaviour=TEACHER, teachers=("adam:lr=0.01",))
    taught, after = rollout(RULE, CONFIG, ticket, None, PHI)
    own, _ = rollout(adam, CONFIG, student_only(ticket), None, {})
    assert torch.equal(taught.delta, own.delta)
    assert set(taught.actor.flatten().tolist()) == {1}
    assert float(after.rule_state["coord"].abs().max()) > 0


def test_divergence_is_a_status() -> None:
    ticket, config = _ticket(2), replace(CONFIG, loss_cap=2.5, steps=20)
    rising = SymbolicRule.from_formula("0.5*g")
    segment, end = rollout(rising, config, ticket, None, rising.init_phi(generator(0)))
    assert segment.status == (DIVERGED, DIVERGED)
    assert end.finished(ticket)
    for k, valid in enumerate(segment.valid.tolist()):
        assert 0 < valid < 20
        assert bool((segment.loss[k, : valid + 1] <= 2.5).all())
        assert float(segment.loss[k, valid + 1]) > 2.5
        assert bool(segment.loss[k, valid + 2 :].isnan().all())
        assert float(segment.credit[k, :valid].abs().sum()) > 0
        for column in (segment.grad, segment.credit, segment.delta):
            assert float(column[k, valid:].abs().sum()) == 0
    assert bool(torch.isfinite(segment.credit).all())


@pytest.mark.parametrize("credit", ["first_order", "exact"])
def test_a_diverged_instance_leaves_the_others_alone(credit: str) -> None:
    """Only the second instance is set off (by its start); the first one's numbers do not change."""
    config = replace(CONFIG, credit=credit)
    calm, _ = rollout(RULE, config, _ticket(2), None, PHI)
    _, state = rollout(RULE, replace(config, steps=1), _ticket(2), None, PHI)
    broken = replace(state, params=state.params.clone(), step=0, segment=0)
    broken.params[1] = torch.nan
    segment, _ = rollout(RULE, config, _ticket(2), broken, PHI)
    assert segment.status == (OK, DIVERGED)
    assert segment.valid.tolist() == [5, 0]
    assert bool(torch.isfinite(segment.credit).all())
    assert calm.status == (OK, OK)


def test_loss_not_finite_at_the_first_step_is_the_user_s_mistake() -> None:
    spec = TaskSpec("mlp", {**MLP.sample(generator(0)).settings, "init_std": 1e38}, 0)
    with pytest.raises(UserError, match="not finite at its first step"):
        rollout(RULE, CONFIG, _ticket(1, specs=(spec,)), None, PHI)


def test_window_over_the_limit() -> None:
    with pytest.raises(UserError, match=r"raise unroll\.history_bytes"):
        rollout(RULE, replace(CONFIG, history_bytes=1000), _ticket(), None, PHI)


def test_teachers_act_by_their_weights() -> None:
    specs = tuple(task("quadratic").sample(generator("weighted")) for _ in range(8))
    weights, teachers = (3.0, 0.0, 1.0), ("adam:lr=0.01", "sgd:lr=0.01", "adagrad:lr=0.01")
    ticket = Ticket("run", 3, 0, 0, specs, 1000, MIX, teachers, 0.8, weights)
    actor = rollout(RULE, UnrollConfig(steps=200), ticket, None, PHI)[0].actor
    counts = torch.bincount(actor.flatten().long(), minlength=4) / actor.numel()
    # 5 standard errors of shares among 1,600 draws
    for share, wanted in zip(counts.tolist(), (0.2, 0.6, 0.0, 0.2), strict=True):
        assert share == pytest.approx(wanted, abs=5 * (wanted * (1 - wanted) / actor.numel()) ** 0.5)
    assert student_only(ticket).teacher_weights == ()
