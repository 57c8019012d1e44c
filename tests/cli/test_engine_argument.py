"""Presets on the command line: what they spend and read holds unless an option says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayl2o.cli.engine_argument import budget_of
from rayl2o.errors import UserError
from rayl2o.symbolic import distill
from rayl2o.symbolic.distill_config import DistillConfig
from rayl2o.symbolic.engines.base import Budget
from rayl2o.symbolic.engines.preset import EnginePreset, dump_preset
from tests.cli.command import rayl2o, refused
from tests.cluster.engine_study import rule_file


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    settings = {"islands": 1, "population": 5, "generations": 1, "polish": 0, "quotient": False}
    operands = {"signals": ["m_tilde"], "betas": [0.7, 0.8]}
    file.write_text(dump_preset(EnginePreset("evolved", settings, Budget(7.0, 9), operands), "mine"))
    return file


def test_options_go_before_the_preset_and_the_preset_before_the_default(preset: Path) -> None:
    default = Budget(1.0, 2)
    assert budget_of("evolved", None, None, default) == default
    assert budget_of(str(preset), None, None, default) == Budget(7.0, 9)
    assert budget_of(str(preset), 3.0, None, default) == Budget(3.0, 9)
    assert budget_of(str(preset), None, 4, default) == Budget(7.0, 4)
    with pytest.raises(UserError, match="must be positive"):
        budget_of("evolved", 0.0, None, default)


def config_of(monkeypatch: pytest.MonkeyPatch, *args: object) -> DistillConfig:
    """What ``rayl2o distill`` would do."""
    seen: list[DistillConfig] = []

    def stop(rule: Any, phi: Any, family: Any, config: DistillConfig, *_: Any) -> None:
        seen.append(config)
        raise UserError("stopped", value=0, mend="as the test wants")

    monkeypatch.setattr(distill, "distill", stop)
    said = rayl2o("distill", *args, "--task", "quadratic")
    assert "error: stopped" in said.err
    return seen[0]


def test_a_distillation_reads_what_the_preset_was_found_with(
    preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = rule_file(tmp_path)
    config = config_of(monkeypatch, rule, "--engine", preset, "--out", tmp_path / "out")
    assert (config.mode, config.signals, config.betas) == ("ema", ("m_tilde",), (0.7, 0.8))
    assert config.budget == Budget(7.0, 9)
    options = ("--signal", "g", "--operands", "paper", "--nodes", "30")
    config = config_of(monkeypatch, rule, "--engine", preset, *options, "--out", tmp_path / "out")
    assert (config.mode, config.signals, config.betas) == ("paper", ("g",), (0.7, 0.8))
    assert config.budget == Budget(7.0, 30)
    plain = config_of(monkeypatch, rule, "--out", tmp_path / "out")
    assert (plain.mode, plain.signals, plain.betas, plain.budget) == (
        "ema", (), DistillConfig().betas, DistillConfig().budget,
    )  # fmt: skip


def test_a_table_is_regressed_by_a_preset(preset: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.parquet"
    x = np.random.default_rng(0).standard_normal((80, 2))
    pq.write_table(pa.table({"a": x[:, 0], "b": x[:, 1], "y": x[:, 0] - 2 * x[:, 1]}), table)
    front = rayl2o("regress", table, "--target", "y", "--engine", preset, "--json").json["front"]
    assert front[-1]["r2"] > 0.99
    refused(rayl2o("regress", table, "--target", "y", "--engine", tmp_path / "none.yaml"), "cannot be read")
