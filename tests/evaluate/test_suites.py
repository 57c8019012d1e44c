from __future__ import annotations

import pytest

from rayl2o.errors import UserError
from rayl2o.evaluate.suites import SUITES, suite
from rayl2o.tasks.registry import task


@pytest.mark.parametrize("name", SUITES)
def test_every_task_of_a_suite_exists(name: str) -> None:
    found = suite(name)
    assert found.tasks
    assert set(found.trained_on) <= set(found.tasks)
    for member in found.tasks:
        assert task(member).family


def test_an_unknown_suite_names_the_near_miss() -> None:
    with pytest.raises(UserError, match="did you mean 'mlp-transfer'"):
        suite("mlp-transfr")
