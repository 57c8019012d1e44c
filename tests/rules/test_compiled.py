from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.base import Inputs
from rayl2o.rules.compiled import compiled_update
from rayl2o.rules.dm import DM
from rayl2o.rules.registry import make
from rayl2o.seeds import generator
from rayl2o.tasks.registry import task
from rayl2o.unroll.rollout import rollout
from rayl2o.unroll.settings import UnrollConfig
from rayl2o.unroll.ticket import Ticket


@pytest.mark.parametrize("kind", ["rnnprop-small", "mlp"])
def test_a_compiled_roll_out_is_the_plain_one_up_to_rounding(kind: str) -> None:
    rule, family = make(kind, {}), task("mlp", data="digits", hidden=(3,), init_std=0.3)
    phi = rule.init_phi(generator("phi"), torch.float64)
    ticket = Ticket("t", 0, 0, 0, (family.sample(generator("task")),), 100)
    config = UnrollConfig(steps=5, credit="exact", dtype="float64")
    plain, _ = rollout(rule, config, ticket, None, phi)
    compiled, _ = rollout(rule, replace(config, compile="aot_eager"), ticket, None, phi)
    torch.testing.assert_close(compiled.delta, plain.delta, rtol=1e-9, atol=1e-13)
    torch.testing.assert_close(compiled.credit, plain.credit, rtol=1e-9, atol=1e-13)
    assert compiled_update(rule, "aot_eager") is compiled_update(make(kind, {}), "aot_eager")


class Undecided(DM):
    """Asks its numbers what to do, which no trace can follow."""

    def update(self, phi, inputs, state):  # type: ignore[no-untyped-def]
        """One step."""
        if float(inputs.grad.sum()) > 0:
            inputs = replace(inputs, grad=-inputs.grad)
        return super().update(phi, inputs, state)


def test_what_cannot_be_compiled_is_said() -> None:
    rule = Undecided(hidden=(3,))
    phi = rule.init_phi(generator("phi"))
    grad = torch.ones(1, 4)
    with pytest.raises(UserError, match="cannot be compiled"):
        compiled_update(rule, "aot_eager")(phi, Inputs(grad, torch.tensor(0.0)), {"coord": torch.zeros(1, 4, 12)})
    with pytest.raises(UserError, match="inductor"):
        UnrollConfig(compile="inducter")
