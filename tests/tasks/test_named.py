from __future__ import annotations

import pytest

from rayl2o.tasks.named import NamedTask


def test_a_paper_is_one_of_three() -> None:
    with pytest.raises(ValueError, match=r"paper must be one of .* got 'X'"):
        NamedTask("mlp", {}, "", paper="X")


def test_a_setting_is_fixed_or_open() -> None:
    with pytest.raises(ValueError, match="got both for"):
        NamedTask("mlp", {"data": "mnist"}, "", {"data": "digits"})
