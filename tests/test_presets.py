from __future__ import annotations

import pytest
import torch

from rayl2o.config import load
from rayl2o.meta.rounds import fresh_state, run_round
from rayl2o.presets import preset_text, presets

TECHNIQUES = (
    "dm", "dm-aug", "dm-cl", "dm-il", "dm-cl-il", "dm-si", "rnnprop", "rnnprop-cl-il", "scale", "scale-cl-il", "rp-small",
    "rp-small-extra", "gru-quadratic", "gru-rosenbrock", "gru-moons", "gru-mnist", "mlp-pes",
)  # fmt: skip


def test_every_preset_has_a_name_and_a_line_about_it() -> None:
    found = presets()
    assert "quickstart" in found
    assert all(summary and not summary.startswith("#") for summary in found.values())
    assert all(preset_text(name).startswith("#") for name in found)


def test_every_technique_has_both_sizes() -> None:
    assert {*TECHNIQUES, *(f"paper/{name}" for name in TECHNIQUES)} <= set(presets())


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads(name: str) -> None:
    config = load(name)
    assert config.make_rule().init_phi(torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", TECHNIQUES)
def test_every_technique_trains(name: str) -> None:
    """Two rounds of short windows: what the options of a preset need is there, and phi moves."""
    config = load(name, ["unroll.steps=10", "updates=2"])
    rule, family = config.make_rule(), config.make_family()
    state = fresh_state(rule, family, config, "run")
    before = state.learner.phi
    for _ in range(2):
        state, metrics = run_round(rule, family, config, state)
    assert state.learner.updates == 2
    assert state.learner.skipped == 0
    assert metrics["diverged"] == 0.0
    assert any(not torch.equal(value, state.learner.phi[key]) for key, value in before.items())


def test_the_papers_sizes_are_theirs() -> None:
    vanilla, augmented = load("paper/dm"), load("paper/dm-aug")
    assert vanilla.updates * vanilla.unroll.steps == 10_000 * 100
    assert augmented.updates * augmented.unroll.steps == 5_000 * 1_000
    assert load("paper/dm-cl").curriculum.n_train == (100, 200, 500, 1000, 1500, 2000, 2500, 3000)
    assert load("paper/scale-cl-il").curriculum.n_train[-1] == 5000
    gru = load("paper/gru-moons")
    assert (gru.instances, gru.unroll.steps, gru.unroll.credit, gru.updates) == (32, 200, "exact", 5000)
    assert load("paper/rp-small").unroll.score_last_iterate is False
