"""The features of RNNprop over a whole trajectory: those that its network is fed, so that they can be measured one by one."""

from __future__ import annotations

import pytest
import torch

from rayl2o.rules.base import Inputs
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.rules.rnnprop_extra import RnnPropExtra
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.seeds import generator
from rayl2o.symbolic.perception import perceive
from tests.symbolic.recorded import recorded


@pytest.mark.parametrize(
    "rule", [RnnProp(projection=3, hidden=(4,), beta1=0.9), RnnPropExtra(projection=3, hidden=(4,))]
)
def test_the_network_on_the_features_is_the_rule(rule: RnnProp) -> None:
    phi = rule.init_phi(generator(0, "test"), torch.float64)
    grads = recorded(SymbolicRule.from_formula("-g"), steps=30).grad
    features = rule.features(phi, grads)
    state = torch.zeros(rule.network.state_size, grads.shape[1], dtype=torch.float64)
    outputs = []
    for t in range(len(grads)):
        y, state = rule.network.step(phi, [feature[t] for feature in features.values()], state)
        outputs.append(rule.output_scale * torch.tanh(y))
    start = {"coord": torch.zeros(grads.shape[1], rule.state_size, dtype=torch.float64)}
    time = torch.arange(len(grads), dtype=torch.float64)[:, None]
    with torch.no_grad():
        wanted, _ = rule.sequence(phi, Inputs(grad=grads, step=time), start)
    torch.testing.assert_close(torch.stack(outputs), wanted, rtol=1e-9, atol=1e-12)


def test_tpf_of_rp_extra_has_three_inputs() -> None:
    rule = RnnPropExtra(projection=3, hidden=(4,))
    phi = rule.init_phi(generator(0, "test"), torch.float64)
    found = perceive(rule, phi, recorded(SymbolicRule.from_formula("-g"), steps=60)).tpf
    assert set(found) == {"m_tilde", "g_tilde", "n_tilde"}
    assert all(0 < value < 19 for value in found.values())
