from __future__ import annotations

from rayl2o.tasks.networks.dense_layout import dense_layout
from rayl2o.tasks.networks.mlp import MLP


def test_it_is_that_of_an_mlp() -> None:
    assert dense_layout((64, 20, 7, 10)) == MLP(hidden=(20, 7)).layout
    assert dense_layout((4, 3)).shapes == ((4, 3), (3,))
