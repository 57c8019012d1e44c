from __future__ import annotations

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.tasks.analytic.quadratic import Quadratic
from rayl2o.tasks.base import TaskSpec
from rayl2o.tasks.instances import normal_rows, require_one_each, require_same
from rayl2o.tasks.networks.mlp import MLP


def test_equal_settings_in_another_form_pass() -> None:
    require_same(MLP(), [TaskSpec("mlp"), TaskSpec("mlp", {"hidden": (20,), "data": "digits"}, seed=4)])
    require_same(MLP(init_std=1.0), [TaskSpec("mlp", {"init_std": 1})])


def test_other_families_and_settings_do_not() -> None:
    with pytest.raises(UserError, match=r"different families.*got 'quadratic'"):
        require_same(MLP(), [TaskSpec("mlp"), TaskSpec("quadratic")])
    with pytest.raises(UserError, match=r"different settings.*got \{'size': 7\}"):
        require_same(Quadratic(), [TaskSpec("quadratic"), TaskSpec("quadratic", {"size": 7})])
    with pytest.raises(UserError, match="did you mean 'size'"):
        require_same(Quadratic(), [TaskSpec("quadratic", {"sise": 5})])
    with pytest.raises(ValueError, match="at least one spec"):
        require_same(MLP(), [])


def test_one_seed_each() -> None:
    require_one_each([3, 3], 2)
    with pytest.raises(ValueError, match="2 instances, 1 seeds"):
        require_one_each([3], 2)


def test_rows_depend_on_their_seed_alone() -> None:
    rows = normal_rows([5, 6, 5], 4000, std=0.01)
    assert rows.shape == (3, 4000)
    assert rows.dtype == torch.float64
    assert torch.equal(rows[0], rows[2])
    assert torch.equal(rows[1:2], normal_rows([6], 4000, std=0.01))
    assert not torch.equal(rows[0], rows[1])
    torch.testing.assert_close(rows[:2].std(1), torch.full((2,), 0.01, dtype=torch.float64), rtol=0.05, atol=0)
    assert rows.mean().abs() < 5e-4
