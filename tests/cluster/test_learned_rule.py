from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rayl2o.cluster.learned_rule import learned_rule
from rayl2o.errors import UserError
from rayl2o.rules.files import save_rule
from rayl2o.rules.named import named_rule
from rayl2o.rules.registry import make
from rayl2o.run import train
from tests.cluster.engine_study import published, rule_file
from tests.cluster.test_trials import TRAINED


def test_a_file_a_folder_and_a_run_are_rules(tmp_path: Path) -> None:
    file = rule_file(tmp_path)
    found = learned_rule(str(file))
    assert found.kind == "rnnprop-small" or found.kind == "rnnprop"
    (tmp_path / "one").mkdir()
    save_rule(tmp_path / "one" / "rule", found.rule, found.phi, {})
    again = learned_rule(str(tmp_path / "one"))
    assert all(torch.equal(again.phi[name], weight) for name, weight in found.phi.items())
    train(TRAINED.config({}, 0), tmp_path / "run")
    assert learned_rule(str(tmp_path / "run")).phi


def test_published_weights_are_found_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(tmp_path / "checkpoints" / "dm.safetensors")
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    assert learned_rule("checkpoints/dm.safetensors").kind == "dm"
    monkeypatch.delenv("RAYL2O_DATA")
    with pytest.raises(UserError, match=r"RAYL2O_DATA, where it would be looked for, is not set"):
        learned_rule("checkpoints/dm.safetensors")


def test_what_is_no_learned_rule_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYL2O_DATA", str(tmp_path))
    with pytest.raises(UserError, match="needs a rule"):
        learned_rule("")
    with pytest.raises(UserError, match=r"nor in \$RAYL2O_DATA"):
        learned_rule("none.json")
    with pytest.raises(UserError, match="neither a run nor a rule"):
        learned_rule(str(tmp_path))
    formula = named_rule("distilled-dm-4b")
    with pytest.raises(UserError, match="only a learned rule"):
        learned_rule(str(save_rule(tmp_path / "formula", formula, {}, {})))
    whole = make("scale", {})
    assert not whole.coordinatewise
    file = save_rule(tmp_path / "scale", whole, whole.init_phi(torch.Generator().manual_seed(0)), {})
    with pytest.raises(UserError, match="only coordinate-wise"):
        learned_rule(str(file))
