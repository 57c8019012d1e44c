"""What a training is set to: contradictions are one clear line."""

from __future__ import annotations

from typing import Any

import pytest

from rayl2o.errors import UserError
from rayl2o.meta.replay import ReplayConfig
from rayl2o.meta.training import TrainConfig
from rayl2o.unroll.settings import UnrollConfig

REPLAY = ReplayConfig(uses=1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"estimator": "rtgworker"}, "rtg_worker"),
        ({"estimator": "rtg_worker", "replay": REPLAY}, "replay needs segments"),
        ({"estimator": "bptt", "replay": REPLAY}, "replay needs segments"),
        ({"unroll": UnrollConfig(dtype="float64"), "replay": REPLAY}, "float32"),
        ({"slots": 0}, "slots"),
        ({"instances": 0}, "instances"),
    ],
)
def test_bad_settings(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        TrainConfig(**settings)


def test_gradients_and_float64_are_fine_without_replay() -> None:
    assert TrainConfig(estimator="bptt", unroll=UnrollConfig(dtype="float64")).replay.uses == 0
