"""The benchmark of real rules in miniature: rows are named as the page reads them, goals stand beside, choices are fair."""

from __future__ import annotations

import pytest

from rayl2o.benchmark.sr_l2o import adam_rows, best_gain, subject_rows, with_gain, within
from rayl2o.benchmark.sr_rules import own, published, trained
from rayl2o.rules.rnnprop import RnnProp
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.finetune import FinetuneConfig
from rayl2o.symbolic.selection import Score
from rayl2o.tasks.registry import task

FAMILIES = {name: task("mlp", hidden=(4,), batch_size=16) for name in ("mlp-orig", "mlp-relu")}
CONFIG = DistillConfig(
    seed=1,
    horizon=200,
    rows=300,
    per_tensor=4,
    collect=1,
    validate=1,
    test=1,
    select=1,
    tune=1,
    report=1,
    engine="linear",
    candidates=2,
    gains=(0.5, 2.0, 3),
    finetune=FinetuneConfig(updates=0),
)


def test_rows_of_a_rule() -> None:
    subject = trained("tiny", "rp-small", updates=10)
    rows = {row.name: row for row in subject_rows(subject, FAMILIES, CONFIG, guard_seeds=(0, 1), steps=200)}
    assert rows["tiny: R2 at <= 10 nodes"].against == "goal 0.95"
    assert rows["tiny: R2 at <= 10 nodes"].value <= 1.0
    assert rows["tiny: fit and selection"].value > 0
    assert rows["tiny: fronts that collapse or explode"].unit == "of 2 search seeds"
    assert rows["tiny: fronts equal at 1 and 2 threads"].value == 1.0
    for name in FAMILIES:
        row = rows[f"tiny: {name} 200 distilled"]
        assert row.against == "network"
        assert rows[f"tiny: {name} 200 network"].ratio == pytest.approx(1.0)
        assert "sd" in row.unit
    assert rows["tiny: distilled less network, worst of 2"].against == "goal 0.25"
    assert not any(f"{mark} network" in name for name in rows for mark in (1000, 2000))


def test_adam_is_tuned_on_other_seeds() -> None:
    rows = adam_rows(FAMILIES, "digits", steps=200, draws=4)
    assert [row.name for row in rows] == [f"tuned Adam on digits: {name} 200 adam" for name in FAMILIES]
    assert all(row.value < 2.4 for row in rows)


def test_the_networks_gain_is_searched_beyond_its_grid_and_never_into_divergence() -> None:
    def score(gain: float) -> Score:
        return Score((gain - 16.0) ** 2, (0.0,), int(gain > 20.0))

    assert best_gain(score, [0.5, 1.0, 2.0, 4.0, 8.0], 2.0) == 16.0
    assert best_gain(lambda gain: Score(0.0, (0.0,), 1), [0.5, 1.0], 2.0) == 1.0
    rule = RnnProp(output_scale=0.1)
    assert with_gain(rule, 2.0) == RnnProp(output_scale=0.2)


def test_own_rules_are_trained_and_published_ones_are_read_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [(one.name, one.is_rp) for one in own(updates=1)] == [("own RP(small)", True), ("own DM", False)]
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    assert not list(published())


def test_the_best_within_a_size_is_chosen_by_validation_rows() -> None:
    from rayl2o.symbolic.front import Front
    from tests.symbolic.test_front import candidate

    front = Front.of([candidate(1, 0.5), candidate(2, 0.8), candidate(4, 0.9)])
    assert within(front, 8) == front.candidates[1]
    assert within(front, 2) is None
