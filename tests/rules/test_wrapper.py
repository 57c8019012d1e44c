from __future__ import annotations

import torch

from rayl2o.rules.classic import Adam
from rayl2o.rules.decoupled import AdamW
from rayl2o.rules.registry import make
from rayl2o.rules.wrapper import Wrapper


def test_what_is_taken_over_is_the_inner_rule_s() -> None:
    assert Wrapper(Adam()).needs == frozenset()
    assert Wrapper(AdamW()).needs == {"params"}
    assert Wrapper(Adam()).coordinatewise
    inner = make("rnnprop-small", {})
    one, two = (rule.init_phi(torch.Generator().manual_seed(3)) for rule in (inner, Wrapper(inner)))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
