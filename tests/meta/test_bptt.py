"""The oracle itself: second-order back-propagation equals finite differences of the window's meta-loss (float64)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.meta.bptt import bptt, graph_bytes
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import MIX
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket
from rayl2o.unroll.window import Cast, actors, start

RULE = make("rnnprop-small", {"output_scale": 0.1})
FAMILY = task("mlp", data="digits", hidden=(3,), init_std=0.3)
TICKET = Ticket("t", 0, 0, 0, tuple(FAMILY.sample(generator(k)) for k in range(2)), 100)
CONFIG = UnrollConfig(steps=5, dtype="float64", step_weights=(1.0, 0.5, 0.0, 2.0, 1.0))


def test_second_order_equals_finite_differences() -> None:
    phi = RULE.init_phi(generator("phi"), dtype=torch.float64)
    grads, loss = bptt(RULE, CONFIG, TICKET, None, phi, second_order=True)
    assert float(loss) > 0
    direction = {name: torch.randn(v.shape, generator=generator("d", name), dtype=v.dtype) for name, v in phi.items()}
    slope = sum(float((grads[name] * direction[name]).sum()) for name in phi)
    step = 1e-5
    ends = []
    for sign in (1.0, -1.0):
        moved = {name: value + sign * step * direction[name] for name, value in phi.items()}
        ends.append(float(bptt(RULE, CONFIG, TICKET, None, moved, second_order=False)[1]))
    assert abs((ends[0] - ends[1]) / (2 * step) - slope) < 1e-6 * max(1.0, abs(slope))


def test_first_order_leaves_something_out() -> None:
    phi = RULE.init_phi(generator("phi"), dtype=torch.float64)
    first, exact = (bptt(RULE, CONFIG, TICKET, None, phi, second_order=order)[0] for order in (False, True))
    assert not torch.allclose(first["linear.w"], exact["linear.w"], rtol=1e-4)


def test_an_instance_that_diverged_before_stands_still() -> None:
    """A teacher would throw it to where nothing is finite."""
    quadratic, phi = task("quadratic"), RULE.init_phi(generator("phi"), dtype=torch.float64)
    specs = tuple(quadratic.sample(generator("q", k)) for k in range(2))
    config = UnrollConfig(steps=3, dtype="float64")
    for slot in range(1000):
        ticket = Ticket("t", 0, slot, 0, specs, 100, MIX, ("sgd:lr=1e308",), 0.5)
        begin = rollout(RULE, config, replace(ticket, teacher_share=0.0), None, phi)[1]
        acting = actors(config, ticket, begin)
        if acting.t().tolist() == [[0, 0, 0], [1, 1, 0]]:
            break
    wild, _ = bptt(RULE, config, ticket, begin, phi, second_order=True)
    assert not all(bool(torch.isfinite(grad).all()) for grad in wild.values())
    dead = replace(begin, alive=torch.tensor([True, False]))
    grads, objective = bptt(RULE, config, ticket, dead, phi, second_order=True)
    segment, _ = rollout(RULE, config, ticket, dead, phi)
    assert float(objective) > 0
    assert abs(float(objective) - float(segment.loss[0, 1:].sum()) / 2) < 1e-12 * float(objective)
    assert all(bool(torch.isfinite(grad).all()) for grad in grads.values())


@pytest.mark.parametrize("second_order", [False, True])
def test_a_graph_that_would_not_fit_is_refused_before_it_is_built(second_order: bool) -> None:
    phi = RULE.init_phi(generator("phi"), dtype=torch.float64)
    task_batch = FAMILY.build(TICKET.specs, dtype=torch.float64)
    cast = Cast.of(RULE, phi, TICKET)
    state = start(cast, CONFIG, TICKET, task_batch)
    long = replace(CONFIG, steps=8, step_weights=())
    needed = graph_bytes(cast, long, TICKET, state, task_batch, second_order)
    seen: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        bptt(RULE, long, TICKET, state, phi, second_order)
    assert 0.8 < needed / sum(seen.values()) < 1.25
    with pytest.raises(UserError, match="predicted"):
        bptt(RULE, replace(long, graph_bytes=needed - 1), TICKET, None, phi, second_order)
    bptt(RULE, replace(long, graph_bytes=needed), TICKET, None, phi, second_order)
