"""Settings of a roll-out refuse nonsense with the near miss, and apply the weights of the meta-loss."""

from __future__ import annotations

import pytest

from rayl2o.errors import UserError
from rayl2o.unroll.settings import UnrollConfig


def test_weights() -> None:
    assert UnrollConfig(steps=3).weights() == (1.0, 1.0, 1.0)
    assert UnrollConfig(steps=3, score_last_iterate=False).weights() == (1.0, 1.0, 0.0)
    assert UnrollConfig(steps=2, step_weights=(0.5, 2.0)).weights() == (0.5, 2.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "at least 1"),
        ({"credit": "exakt"}, "did you mean 'exact'"),
        ({"sampling": "importence", "coords_per_row": 3}, "did you mean 'importance'"),
        ({"sampling": "uniform"}, "coords_per_row"),
        ({"step_weights": (1.0,)}, "one weight per step"),
        ({"loss_cap": float("nan")}, "positive"),
        ({"dtype": "float16"}, "dtype"),
    ],
)
def test_bad_settings(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        UnrollConfig(**settings)  # type: ignore[arg-type]
