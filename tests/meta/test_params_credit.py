"""A learned rule that reads the params, beside a teacher that does: its meta-gradient is that of the unroll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from rayl2o.meta.bptt import bptt
from rayl2o.meta.learner import meta_gradient
from rayl2o.rules.base import Inputs, Phi, State
from rayl2o.rules.classic import Momentum
from rayl2o.seeds import generator
from rayl2o.tasks.registry import build, task
from rayl2o.unroll.closed_loop import closed_loop
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.segment import MIX
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import SlotState, Ticket

FAMILY = task("mlp", data="digits", hidden=(3,), init_std=0.3)
SPECS = tuple(FAMILY.sample(generator(k)) for k in range(2))


@dataclass(frozen=True)
class Pulled(Momentum):
    """A heavy ball whose force and displacement depend on the params."""

    kind: ClassVar[str] = "pulled"
    needs: ClassVar[frozenset[str]] = frozenset({"params"})

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Two scalars."""
        return {"pull": torch.tensor(0.05, dtype=dtype), "rate": torch.tensor(0.02, dtype=dtype)}

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step."""
        assert inputs.params is not None
        ball = 0.8 * state["coord"][..., 0] + inputs.grad + torch.sin(inputs.params)
        return -phi["rate"] * ball - phi["pull"] * inputs.params, {"coord": ball[..., None]}


@pytest.mark.parametrize("credit", ["first_order", "exact"])
@pytest.mark.parametrize("teachers", [(), ("adamw:lr=0.05,weight_decay=0.5",)], ids=["alone", "adamw"])
def test_returns_to_go_equal_backpropagation(credit: str, teachers: tuple[str, ...]) -> None:
    rule = Pulled()
    config = UnrollConfig(steps=6, dtype="float64", credit=credit)
    ticket = Ticket("t", 0, 0, 0, SPECS, 100)
    if teachers:
        ticket = replace(ticket, behaviour=MIX, teachers=teachers, teacher_share=0.5)
    phi = rule.init_phi(generator("phi"), torch.float64)
    state: SlotState | None = None
    for _ in range(2):
        segment, end = rollout(rule, config, ticket, state, phi)
        found, _ = meta_gradient(rule, phi, [segment])
        expected, _ = bptt(rule, config, ticket, state, phi, second_order=credit == "exact")
        for name in phi:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-12)
        state = end


def test_a_closed_loop_passes_the_params() -> None:
    rule = Pulled()
    curves = closed_loop(rule, rule.init_phi(generator("phi")), build(SPECS), [0, 1], lambda t: [t, t], 5)
    assert curves.valid.tolist() == [5, 5]
    assert bool((curves.loss[:, -1] < curves.loss[:, 0]).all())
