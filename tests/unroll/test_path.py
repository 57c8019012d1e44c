"""States made again along a window: the same bits, the same credit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.path import Path, stride
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import MIX
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket


def test_a_long_path_keeps_about_as_many_states_as_it_makes_at_a_time() -> None:
    assert stride(200, 10, 2000) == 1
    assert stride(200, 10, 1999) == 15
    assert stride(1, 10, 0) == 1


def test_states_come_back_in_any_order() -> None:
    made: list[int] = []

    def advance(k: int, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        made.append(k)
        return {"coord": state["coord"] + 1}

    path = Path([{"coord": torch.tensor(float(k))} for k in (0, 3, 6)], 3, 8, advance)
    assert [int(path[k]["coord"]) for k in range(7, -1, -1)] == list(range(7, -1, -1))
    assert sorted(made) == [0, 1, 3, 4, 6]
    assert [int(state["coord"]) for state in path[2:5]] == [2, 3, 4]
    with pytest.raises(IndexError):
        path[8]


@pytest.mark.parametrize("credit", ["exact", "curvature"])
@pytest.mark.parametrize("kind", ["dm", "gru", "rnnprop-extra"])
def test_kept_and_made_states_give_the_same_bits(kind: str, credit: str) -> None:
    rule = make(kind, {"hidden": 4} if kind == "gru" else {"hidden": (4,)})
    family = task("mlp", data="digits", hidden=(3,), init_std=0.3)
    specs = tuple(family.sample(generator(k)) for k in range(2))
    ticket = Ticket("t", 0, 0, 0, specs, 100, MIX, ("adam:lr=0.1", "momentum:lr=0.1"), 0.5)
    config = UnrollConfig(steps=10, credit=credit)
    phi = {name: value + 0.1 for name, value in rule.init_phi(generator("phi")).items()}
    kept, _ = rollout(rule, config, ticket, None, phi)
    made, _ = rollout(rule, replace(config, state_bytes=0), ticket, None, phi)
    assert torch.equal(kept.credit, made.credit)
    assert bool((kept.credit != 0).any())
