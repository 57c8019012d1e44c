"""The options as a YAML gives them: every one loads, and a slip is one clear line."""

from __future__ import annotations

from typing import Any

import pytest

from rayl2o.config import dump, load_text, parse
from rayl2o.errors import UserError
from rayl2o.meta.behaviour import BehaviourConfig
from rayl2o.meta.curriculum import CurriculumConfig
from rayl2o.meta.learner import LearnerConfig
from rayl2o.meta.optimizer import MetaOptimizerConfig

RECIPES = """
learner:
  rtg: {name: rmsprop, lr: 1e-6, settings: {alpha: 0.9, eps: 1e-20}, clip_value: 1e4, nonfinite: zero}
  imitation: {clip_value: 5, decay: 0.8, decay_every: 500, decay_smooth: true, l2: 1e-5, l2_norm: 1e-4}
  ema: 0.99
curriculum: {kind: code, n_train: [100, 200], score: mean}
behaviour: {teachers: [code, "sgd:lr=0.1"], weights: [2, 1], imitation_like: dm-cl, self_improving: true, start: 0.99}
"""


def test_every_option_loads_and_survives_a_dump() -> None:
    config = load_text(RECIPES, "recipes")
    assert config.learner == LearnerConfig(
        rtg=MetaOptimizerConfig(
            "rmsprop", 1e-6, settings={"alpha": 0.9, "eps": 1e-20}, clip_value=1e4, nonfinite="zero"
        ),
        imitation=MetaOptimizerConfig(
            clip_value=5.0, decay=0.8, decay_every=500, decay_smooth=True, l2=1e-5, l2_norm=1e-4
        ),
        ema=0.99,
    )
    assert config.curriculum == CurriculumConfig(kind="code", n_train=(100, 200), score="mean")
    assert config.behaviour == BehaviourConfig(
        teachers=("code", "sgd:lr=0.1"), weights=(2.0, 1.0), imitation_like="dm-cl", self_improving=True, start=0.99
    )
    assert load_text(dump(config), "again") == config


@pytest.mark.parametrize(
    ("section", "value", "words"),
    [
        ("learner", {"emma": 0.9}, "'ema'"),
        ("learner", {"ema": 1.0}, "ema"),
        ("learner", {"rtg": {"clip_vale": 5.0}}, "'clip_value'"),
        ("learner", {"rtg": {"settings": {"beta3": 0.9}}}, "'beta[12]'"),
        ("learner", {"rtg": {"settings": {"beta1": "high"}}}, "wrong type"),
        ("learner", {"rtg": {"name": "adamax"}}, "'adam"),
        ("curriculum", {"kind": "continous"}, "'continuous'"),
        ("curriculum", {"score": "finl"}, "'final'"),
        ("behaviour", {"weights": [1.0]}, "one weight per teacher"),
        ("behaviour", {"imitation_like": "dmcl"}, "'dm-cl'"),
    ],
)
def test_a_slip_is_one_clear_line(section: str, value: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        parse({section: value})
    assert "\n" not in str(caught.value)
