from __future__ import annotations

import json

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.pictures import Pictures
from tests.symbolic.recorded import recorded


def test_both_kinds_there_and_back_and_small() -> None:
    rule = SymbolicRule.from_formula("-0.1*g")
    pictures = Pictures.of(rule, rule.init_phi(dtype=torch.float64), rule, recorded(rule))
    assert (len(pictures.curves), len(pictures.traces)) == (1, 2)
    text = json.dumps(pictures.to_json(), allow_nan=False)
    assert Pictures.from_json(json.loads(text)) == pictures
    assert len(text) < 30_000


def test_none_is_an_old_distillation() -> None:
    assert Pictures.from_json(None) == Pictures()


@pytest.mark.parametrize("data", [[], 3, {}, {"curves": 1, "traces": []}, {"curves": [1], "traces": []}])
def test_hostile_json(data: object) -> None:
    with pytest.raises(UserError):
        Pictures.from_json(data)
