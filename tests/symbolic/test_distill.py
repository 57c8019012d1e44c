"""The whole way: a known rule comes back, roles are kept apart, published weights are distilled as well as the notes say."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from rayl2o.errors import UserError
from rayl2o.rules.operands import Ema
from rayl2o.rules.published import import_weights
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.distill import Distillation, distill
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.engines.evolved import Evolved
from rayl2o.symbolic.engines.linear import Linear
from rayl2o.symbolic.finetune import FinetuneConfig
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.search import search
from rayl2o.symbolic.tables import Tables, record
from rayl2o.tasks.networks.mlp import MLP
from rayl2o.unroll.settings import UnrollConfig

FAMILY = MLP(hidden=(), batch_size=32)
HEAVY_BALL = SymbolicRule.from_formula("-0.5*ema(g, 0.9)")
CONFIG = DistillConfig(
    horizon=60,
    rows=800,
    per_tensor=8,
    report=2,
    engine="linear",
    finetune=FinetuneConfig(updates=12, check_every=6, unroll=UnrollConfig(steps=10)),
)


@pytest.fixture(scope="module")
def found() -> Distillation:
    return distill(HEAVY_BALL, HEAVY_BALL.init_phi(), FAMILY, CONFIG)


def test_heavy_ball_is_selected_with_its_coefficient(found: Distillation) -> None:
    terms = found.selected.expression.linear_terms()
    assert terms is not None
    assert set(terms) == {Ema("g", 0.9)}
    assert terms[Ema("g", 0.9)] == pytest.approx(-0.5, rel=1e-4)
    assert found.selected.complexity == 3
    assert found.selected.buffers == 1
    assert found.distilled.r2 > 0.99
    assert found.distilled.score.mean_loss == pytest.approx(found.network.mean_loss, rel=1e-3)


def test_measures_of_network_and_formula_agree_with_the_closed_form(found: Distillation) -> None:
    beta = 0.9
    wanted = beta / (1 - beta) - 20 * beta**20 / (1 - beta**20)
    assert found.measures.network_tpf == pytest.approx(wanted, rel=1e-3)
    assert found.measures.formula_tpf == pytest.approx(wanted, rel=1e-3)
    assert found.measures.signal_tpf == {"g": pytest.approx(wanted, rel=1e-3)}
    assert (found.measures.mc, found.measures.mc_threshold) == (3, 0.8)


def test_the_three_columns_are_kept_apart(found: Distillation) -> None:
    assert found.gained is not None
    assert found.tuned is not None
    assert found.gain is not None
    assert found.distilled.rule.gain == 1.0
    assert found.gained.rule == replace(found.distilled.rule, gain=found.gain.gain, name="gained")
    # On the runs that chose them, each is at least as good as the one it starts from.
    assert found.gained.score.mean_loss <= found.distilled.score.mean_loss * (1 + 1e-6)
    assert found.tuned.score.mean_loss <= found.gained.score.mean_loss * (1 + 1e-6)
    # A cautious step size has room: the gain moves away from 1, and with it the fidelity.
    assert found.gain.gain > 1.5
    assert found.gained.r2 < found.distilled.r2
    assert (found.distilled.rule.name, found.tuned.rule.name) == ("distilled", "tuned")


def test_the_result_is_plain_data_and_rules_read_back(found: Distillation) -> None:
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Front.from_json(data["front"]) == found.front
    assert found.tuned is not None
    assert SymbolicRule.from_json(data["tuned"]["rule"]).expression == found.tuned.rule.expression
    assert set(data["seconds"]) == {"record", "fit", "select", "gain", "tune", "report", "measure"}


def test_same_seed_same_result_and_stages_can_be_left_out(found: Distillation) -> None:
    config = replace(CONFIG, gains=(0.5, 5.0, 0), finetune=FinetuneConfig(updates=0))
    short = distill(HEAVY_BALL, HEAVY_BALL.init_phi(), FAMILY, config)
    assert (short.gained, short.tuned, short.gain, short.tuning) == (None, None, None, None)
    assert short.selected == found.selected
    assert short.front == found.front
    assert short.to_json()["tuned"] is None


def test_columns_are_scored_on_runs_that_chose_nothing(found: Distillation) -> None:
    for column in (found.distilled, found.gained, found.tuned):
        assert column is not None
        assert len(column.held_out.per_run) == CONFIG.report
        assert not set(column.held_out.per_run) & set(column.score.per_run)
    assert found.distilled.held_out.mean_loss == pytest.approx(found.network_held_out.mean_loss, rel=1e-3)


def test_members_of_the_front_say_how_far_they_look_and_how_they_spread(found: Distillation) -> None:
    assert found.selected.tpf == {"g": pytest.approx(found.measures.formula_tpf, rel=1e-3)}
    assert found.selected.r2_stretched is not None
    assert len(found.selected.closed_loop_runs) == CONFIG.select
    assert sum(found.selected.closed_loop_runs) / CONFIG.select == pytest.approx(found.selected.closed_loop)


def test_tables_are_told_before_any_search_and_an_engine_that_fails_costs_only_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash(*args: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(Evolved, "fit", crash)
    kept: list[Tables] = []
    config = replace(CONFIG, engine="evolved", gains=(0.5, 5.0, 0), finetune=FinetuneConfig(updates=0))
    found = distill(HEAVY_BALL, HEAVY_BALL.init_phi(), FAMILY, config, keep=kept.append)
    assert list(found.failures) == ["evolved"]
    assert "no memory" in found.failures["evolved"]
    assert {candidate.engine for candidate in found.front.candidates} == {"linear"}
    assert len(kept) == 1
    monkeypatch.setattr(Linear, "fit", crash)
    with pytest.raises(UserError, match="every engine failed"):
        distill(HEAVY_BALL, HEAVY_BALL.init_phi(), FAMILY, config, keep=kept.append)
    assert len(kept) == 2


def test_an_engine_that_cannot_run_is_refused_before_any_work() -> None:
    kept: list[Tables] = []
    with pytest.raises(UserError, match="did you mean 'evolved'"):
        distill(HEAVY_BALL, HEAVY_BALL.init_phi(), FAMILY, replace(CONFIG, engine="evolve"), keep=kept.append)
    assert not kept


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UserError, match=r"distil\.horizon"):
        DistillConfig(horizon=0)
    with pytest.raises(UserError, match=r"distil\.select"):
        DistillConfig(select=0)
    with pytest.raises(UserError, match="did you mean 'paper'"):
        replace(CONFIG, mode="papr")
    with pytest.raises(UserError, match="did you mean 'strata'"):
        replace(CONFIG, sampling="stratas")
    with pytest.raises(UserError, match="search_seeds"):
        replace(CONFIG, search_seeds=(1, 1))


DATA = os.environ.get("RAYL2O_DATA")


@pytest.mark.skipif(not DATA, reason="RAYL2O_DATA is not set: the published weights are there")
@pytest.mark.parametrize(
    ("name", "goals"),
    [
        # Nodes and held-out R2: the goals set from MLP-orig on MNIST for RNNprop; DM behaves unlike itself from run to run on
        # digits (.2 to .6), so only a floor is asked for here.
        ("rnnprop_cl_il", {10: 0.95, 25: 0.98}),
        ("dm_cl_il", {10: 0.4}),
    ],
)
def test_published_weights_are_distilled_into_short_formulas(name: str, goals: dict[int, float]) -> None:
    rule, phi = import_weights(Path(str(DATA)) / "l2o-checkpoints" / f"{name}.safetensors")
    front = search(record(rule, phi, MLP(), DistillConfig(horizon=200, rows=3000)).tables, Linear()).front
    for nodes, goal in goals.items():
        assert max(c.r2_val for c in front.candidates if c.complexity <= nodes) >= goal
    assert all(c.buffers <= 6 for c in front.candidates if c.complexity <= 10)
