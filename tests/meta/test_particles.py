"""Particles side by side equal a loop over them, one closed loop each, divergence and its charge included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from rayl2o.checkpoint import digest
from rayl2o.layout import Layout
from rayl2o.meta.particles import Flight, fly, launch, spread
from rayl2o.meta.perturbation import EvolutionConfig, draw_noise, perturb
from rayl2o.rules.base import Inputs, Phi, Rule, State
from rayl2o.rules.registry import make
from rayl2o.seeds import derive_seed, generator
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.registry import build, task
from rayl2o.unroll.closed_loop import closed_loop
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import MIX
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.step_seeds import StepSeeds, batch_seeds
from rayl2o.unroll.ticket import Ticket

RULE = make("rnnprop-small", {"output_scale": 0.1})
MLP = task("mlp", data="digits", hidden=(3,), init_std=0.3)
CONFIG = UnrollConfig(steps=4, dtype="float64", step_weights=(1.0, 0.5, 0.0, 2.0))
COPIES, WEIGHTS = 4, torch.tensor(CONFIG.step_weights, dtype=torch.float64)


def _ticket(family: TaskFamily, k: int = 2) -> Ticket:
    return Ticket("t", 0, 0, 0, tuple(family.sample(generator(i)) for i in range(k)), 100)


def _phis(rule: Rule, ticket: Ticket, sigma: float = 0.3) -> Phi:
    phi = rule.init_phi(generator("phi"), dtype=torch.float64)
    return perturb(phi, draw_noise(EvolutionConfig(particles=COPIES), ticket, 0, phi), sigma)


def _windows(rule: Rule, config: UnrollConfig, ticket: Ticket, phis: Phi, count: int, chunk: int = 0) -> list[Flight]:
    state, flights = launch(rule, config, ticket, phis, COPIES), []
    for _ in range(count):
        flights.append(fly(rule, config, ticket, state, phis, COPIES, chunk))
        state = flights[-1].end
    return flights


def _alone(rule: Rule, config: UnrollConfig, ticket: Ticket, phis: Phi, row: int, steps: int) -> tuple[Tensor, int]:
    """Losses at params[1..steps] of one particle in a loop of its own, and how many are real."""
    k, phi = row // COPIES, {name: value[row] for name, value in phis.items()}
    single = build([ticket.specs[k]], dtype=torch.float64)
    seeds = [derive_seed(ticket.run_seed, "init", ticket.slot, ticket.ordinal, k)]
    curves = closed_loop(rule, phi, single, seeds, lambda t: [batch_seeds(ticket, t)[k]], steps + 1, config.loss_cap)
    return curves.loss[0, 1:], int(curves.valid[0]) - 1


def test_particles_of_an_instance_share_its_seeds() -> None:
    ticket = _ticket(MLP, 3)
    one, two, three = batch_seeds(ticket, 5)
    seeds = StepSeeds(ticket, 5, 2)
    assert len(seeds) == 6
    assert list(seeds) == [one, one, two, two, three, three]
    assert (seeds[-1], seeds[1:3]) == (three, [one, two])
    assert len({one, two, three}) == 3


@pytest.mark.parametrize("chunk", [0, 1, 3])
def test_particles_equal_a_loop_over_them(chunk: int) -> None:
    ticket = _ticket(MLP)
    phis = _phis(RULE, ticket)
    flights = _windows(RULE, CONFIG, ticket, phis, 2, chunk)
    for row in range(2 * COPIES):
        losses, _ = _alone(RULE, CONFIG, ticket, phis, row, 8)
        found = torch.stack([flight.losses[row] for flight in flights])
        torch.testing.assert_close(found, losses.view(2, 4) @ WEIGHTS, rtol=1e-10, atol=1e-12)
    assert len(set(flights[1].losses.tolist())) == 2 * COPIES
    assert (flights[1].end.step, flights[1].end.segment) == (8, 2)
    assert [flight.tally.points for flight in flights] == [5 * 2 * COPIES] * 2
    assert flights[0].tally.steps == 4 * 2 * COPIES


def test_what_diverged_is_charged_as_in_a_closed_loop_in_later_windows_too() -> None:
    rule = make("dm", {"hidden": [3], "output_scale": 15.0})
    config = replace(CONFIG, loss_cap=3e3)
    ticket = _ticket(task("quadratic"))
    phis = _phis(rule, ticket, 1.0)
    flights = _windows(rule, config, ticket, phis, 3)
    real = []
    for row in range(2 * COPIES):
        losses, valid = _alone(rule, config, ticket, phis, row, 12)
        found = torch.stack([flight.losses[row] for flight in flights])
        torch.testing.assert_close(found, losses.view(3, 4) @ WEIGHTS, rtol=1e-8, atol=0)
        real.append(valid)
    assert {len(range(0, valid, 4)) for valid in real} == {1, 2, 3}  # in the first window, in the second, never
    for i, flight in enumerate(flights):
        assert flight.tally.steps == sum(min(max(valid - 4 * i, 0), 4) for valid in real)
        assert flight.tally.status == tuple("ok" if valid >= 4 * i + 4 else "diverged" for valid in real)
        assert bool(torch.isfinite(flight.end.params).all())
        assert flight.tally.loss > 0


def test_particles_without_perturbation_go_the_way_of_the_instance() -> None:
    ticket = replace(
        _ticket(MLP), behaviour=MIX, teachers=("sgd:lr=0.1", "adamw:lr=0.01,weight_decay=0.1"), teacher_share=0.5
    )
    phi = RULE.init_phi(generator("phi"), dtype=torch.float64)
    phis = {name: value.expand(2 * COPIES, *value.shape) for name, value in phi.items()}
    segment, first = rollout(RULE, CONFIG, ticket, None, phi)
    again, second = rollout(RULE, CONFIG, ticket, first, phi)
    found = _windows(RULE, CONFIG, ticket, phis, 1)[0]
    torch.testing.assert_close(found.end.params, first.params.repeat_interleave(COPIES, 0), rtol=1e-10, atol=1e-12)
    flight = fly(RULE, CONFIG, ticket, spread(first, COPIES), phis, COPIES)
    torch.testing.assert_close(flight.end.params, second.params.repeat_interleave(COPIES, 0), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(flight.losses, (again.loss[:, 1:] @ WEIGHTS).repeat_interleave(COPIES))
    assert len(flight.end.teacher_states) == 2
    for old, new in zip(second.teacher_states, flight.end.teacher_states, strict=True):
        torch.testing.assert_close(new["coord"], old["coord"].repeat_interleave(COPIES, 0), rtol=1e-10, atol=1e-12)
    assert {0, 1, 2} <= set(segment.actor.flatten().tolist()) | set(again.actor.flatten().tolist())
    assert flight.tally.points == 5 * 2 * COPIES


def test_an_instance_that_diverged_before_makes_no_difference_between_particles() -> None:
    ticket = _ticket(MLP)
    phis = _phis(RULE, ticket)
    _, state = rollout(RULE, CONFIG, ticket, None, {name: value[0] for name, value in phis.items()})
    dead = replace(state, alive=torch.tensor([True, False]), loss=state.loss * torch.tensor([1.0, torch.nan]))
    flight = fly(RULE, CONFIG, ticket, spread(dead, COPIES), phis, COPIES)
    first = launch(RULE, CONFIG, ticket, phis, COPIES).loss
    torch.testing.assert_close(flight.losses[COPIES:], 10 * WEIGHTS.sum() * first[COPIES:])
    assert len(set(flight.losses[:COPIES].tolist())) == COPIES
    assert flight.tally.status == ("ok",) * COPIES + ("diverged",) * COPIES


def test_nothing_is_mutated_and_no_graph_is_made() -> None:
    ticket = _ticket(MLP)
    phis = {name: value.requires_grad_() for name, value in _phis(RULE, ticket).items()}
    begin = launch(RULE, CONFIG, ticket, {name: value.detach() for name, value in phis.items()}, COPIES)
    before = digest({**phis, "params": begin.params, "grad": begin.grad, **begin.rule_state})
    first, second = (fly(RULE, CONFIG, ticket, begin, phis, COPIES) for _ in range(2))
    assert digest({**phis, "params": begin.params, "grad": begin.grad, **begin.rule_state}) == before
    assert not first.losses.requires_grad
    assert torch.equal(first.losses, second.losses)


@dataclass(frozen=True)
class Curious:
    """Needs everything: shrinks params where the loss is high; keeps a state per tensor and one per instance."""

    kind: ClassVar[str] = "curious"
    needs: ClassVar[frozenset[str]] = frozenset({"params", "loss", "layout"})
    coordinatewise: ClassVar[bool] = False
    state_size: ClassVar[int] = 0

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        return {"rate": torch.randn((), generator=generator, dtype=dtype)}

    def init_state(
        self,
        phi: Mapping[str, Tensor],
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        coord = torch.zeros(k, layout.size, 0, dtype=dtype, device=device)
        tensor = torch.zeros(k, len(layout.sizes), 1, dtype=dtype, device=device)
        return {"coord": coord, "tensor": tensor, "global": phi["rate"].expand(k, 1)}

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        assert inputs.params is not None
        assert inputs.loss is not None
        assert inputs.layout is not None
        assert (inputs.params.shape, inputs.loss.shape) == (inputs.grad.shape, (1, 1))
        norms = torch.stack(
            [part.norm(dim=1) for part in torch.split(inputs.grad, list(inputs.layout.sizes), dim=1)], 1
        )
        tensor, everywhere = state["tensor"] + norms[..., None], state["global"] + inputs.loss
        delta = -0.1 * phi["rate"].sigmoid() * (inputs.grad + 0.1 * inputs.params * everywhere.tanh()) / tensor.sum(1)
        return delta, {"coord": state["coord"], "tensor": tensor, "global": everywhere}

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        raise NotImplementedError


def test_a_rule_gets_what_it_needs_and_keeps_state_of_every_level() -> None:
    rule, ticket = Curious(), _ticket(MLP)
    phis = _phis(rule, ticket)
    flight = _windows(rule, CONFIG, ticket, phis, 2)[1]
    sizes = build(ticket.specs).layout.sizes
    assert flight.end.rule_state["tensor"].shape == (2 * COPIES, len(sizes), 1)
    assert flight.end.rule_state["global"].shape == (2 * COPIES, 1)
    losses = _by_hand(rule, ticket, phis, 3, 8)
    torch.testing.assert_close(flight.losses[3], losses[4:] @ WEIGHTS, rtol=1e-10, atol=1e-12)


def _by_hand(rule: Rule, ticket: Ticket, phis: Phi, row: int, steps: int) -> Tensor:
    phi, single = {name: value[row] for name, value in phis.items()}, build(ticket.specs[:1], dtype=torch.float64)
    params = single.init_params([derive_seed(ticket.run_seed, "init", ticket.slot, ticket.ordinal, 0)])
    state, losses = rule.init_state(phi, single.layout, 1, torch.float64), []
    for t in range(steps + 1):
        loss, grad = single.loss_and_grad(params, single.draw_batch(batch_seeds(ticket, t)[:1]))
        losses.append(loss)
        delta, state = rule.update(phi, Inputs(grad, torch.tensor(t), params, loss[:, None], single.layout), state)
        params = params + delta
    return torch.cat(losses)[1:]
