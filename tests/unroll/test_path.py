"""States made again along a window: the same bits, the same credit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from rayl2o.rules.base import State
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll import credit
from rayl2o.unroll.path import Path, kept_steps
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import MIX
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket


def test_a_long_path_keeps_few_states_and_makes_few_at_a_time() -> None:
    assert kept_steps(5, 10, 50) == (0, 1, 2, 3, 4)
    assert kept_steps(5, 10, 49) == (0, 2, 4)
    assert kept_steps(1, 10, 0) == (0,)
    kept = kept_steps(200, 10, 1999)
    stretches = [end - begin for begin, end in pairwise((*kept, 200))]
    assert max(i + stretch for i, stretch in enumerate(stretches, start=1)) <= 21
    assert 2 * 14 > 21  # what equal stretches need


def test_states_are_made_again_from_the_end() -> None:
    made: list[int] = []

    def advance(k: int, state: State) -> State:
        made.append(k)
        return {"coord": state["coord"] + 1}

    steps = kept_steps(8, 1, 0)
    assert steps == (0, 2, 5, 7)
    path = Path([{"coord": torch.tensor(float(k))} for k in steps], steps, 8, advance)
    assert len(path) == 8
    assert [int(path[k]["coord"]) for k in range(7, -1, -1)] == list(range(7, -1, -1))
    assert sorted(made) == [0, 2, 3, 5]
    assert [int(state["coord"]) for state in path[0:2]] == [0, 1]
    with pytest.raises(IndexError, match="behind what was read"):
        path[2]
    with pytest.raises(IndexError):
        path[8]


@pytest.mark.parametrize("order", ["exact", "curvature"])
@pytest.mark.parametrize("kind", ["dm", "gru", "rnnprop-extra"])
def test_kept_and_made_states_give_the_same_bits(kind: str, order: str) -> None:
    rule = make(kind, {"hidden": 4} if kind == "gru" else {"hidden": (4,)})
    family = task("mlp", data="digits", hidden=(3,), init_std=0.3)
    specs = tuple(family.sample(generator(k)) for k in range(2))
    ticket = Ticket("t", 0, 0, 0, specs, 100, MIX, ("adam:lr=0.1", "momentum:lr=0.1"), 0.5)
    config = UnrollConfig(steps=10, credit=order)
    phi = {name: value + 0.1 for name, value in rule.init_phi(generator("phi")).items()}
    kept, _ = rollout(rule, config, ticket, None, phi)
    made, _ = rollout(rule, replace(config, state_bytes=0), ticket, None, phi)
    assert torch.equal(kept.credit, made.credit)
    assert bool((kept.credit != 0).any())


@pytest.mark.parametrize("kind", ["rnnprop", "scale", "mlp"])
def test_instances_may_be_differentiated_some_at_a_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, family = make(kind, {}), task("mlp", data="digits", hidden=(3,), init_std=0.3)
    ticket = Ticket("t", 0, 0, 0, tuple(family.sample(generator(k)) for k in range(5)), 100)
    phi = rule.init_phi(generator("phi"), torch.float64)
    config = UnrollConfig(steps=4, credit="exact", dtype="float64")
    together, _ = rollout(rule, config, ticket, None, phi)
    of_two = 2 * sum(v.numel() * 8 for v in rule.init_state(phi, family.build(ticket.specs).layout, 1).values())
    monkeypatch.setattr(credit, "VJP_BYTES", of_two)
    apart, _ = rollout(rule, config, ticket, None, phi)
    torch.testing.assert_close(apart.credit, together.credit, rtol=1e-10, atol=1e-14)
