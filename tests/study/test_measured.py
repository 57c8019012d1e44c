from __future__ import annotations

import json

import pytest

from rayl2o.study.measured import Values, measured, spread
from tests.study.examples import DM, distilling_example, example


def test_a_row_per_known_rule_and_arm_with_a_value_per_meta_seed() -> None:
    sgd, dm = measured(distilling_example())
    assert (sgd.label, sgd.seeds, sgd.levels) == ("sgd:lr=0.03", (), {})
    assert (dm.label, dm.seeds, dm.levels) == ("dm-first", (0, 1), DM)
    assert dm.tpf(20) == {"g": (4.0, 6.0)}
    assert dm.complexity("ema", 0.05) == (9, None)
    assert dm.complexity("ema", 0.5, "inputs") == (1, 1)
    assert dm.best("ema", 60) == (0.96, 0.9)
    assert dm.best("ema", 60, among="sound") == pytest.approx((0.86, 0.8))
    assert dm.best("ema", 3, "buffers") == (2, 2)
    assert dm.cpu_s("ema") == (1.25, 1.25)
    assert json.loads(json.dumps(dm.to_json()))["inputs"] == ["g"]


def test_studies_that_distil_nothing_measure_nothing() -> None:
    assert measured(example()) == []


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((1.0,), "1.0"),
        ((1.0, 1.0), "1.0"),
        ((1.0, 2.0, 6.0), "3.0 (1.0 to 6.0)"),
        ((1.0, None, 3.0), "2.0 (1.0 to 3.0), 2 of 3"),
        ((None, 2.0), "2.0, 1 of 2"),
        ((None, None), "none"),
    ],
)
def test_a_spread_says_how_many_there_are(values: Values, text: str) -> None:
    assert spread(values, 1) == text
