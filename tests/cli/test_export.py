from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from rayl2o.rules.files import load_rule
from tests.cli.command import rayl2o, refused

FORMULA = '{"schema_version": 1, "kind": "symbolic", "name": "mine", "formula": "-0.1*ema(g, 0.9)", "clamp": 0.5}'


@pytest.fixture
def formula(tmp_path: Path) -> Path:
    path = tmp_path / "mine.json"
    path.write_text(FORMULA)
    return path


@pytest.mark.parametrize(("form", "part"), [("json", '"formula"'), ("python", "class "), ("latex", r"\Delta\theta")])
def test_text_to_stdout_to_a_file_and_in_json(form: str, part: str, formula: Path, tmp_path: Path) -> None:
    plain = rayl2o("export", formula, "--format", form)
    assert plain.code == 0
    assert part in plain.out
    data = rayl2o("export", formula, "--format", form, "--json").json
    assert (data["format"], data["path"], data["rule"]) == (form, None, str(formula))
    assert data["text"].strip() == plain.out.strip()
    path = tmp_path / "sub" / "out"
    filed = rayl2o("export", formula, "--format", form, "--out", path, "--json").json
    assert filed == {"rule": str(formula), "format": form, "path": str(path), "text": None}
    assert path.read_text().strip() == plain.out.strip()


def test_an_exported_rule_file_is_one(formula: Path, tmp_path: Path) -> None:
    path = tmp_path / "again.json"
    rayl2o("export", formula, "--format", "json", "--out", path)
    assert load_rule(path).rule == load_rule(formula).rule
    assert json.loads(path.read_text())["clamp"] == 0.5


def test_the_exported_python_runs(formula: Path, tmp_path: Path) -> None:
    source = rayl2o("export", formula, "--format", "python", "--json").json["text"]
    path = tmp_path / "mine_optimizer.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("mine_optimizer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    param = torch.nn.Parameter(torch.zeros(2))
    param.grad = torch.ones(2)
    module.FormulaOptimizer([param]).step()
    torch.testing.assert_close(param.detach(), torch.full((2,), -0.01))


def test_a_learned_rule_goes_to_two_files(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    assert rayl2o("export", run, "--format", "json", "--out", path, "--json").json["path"] == str(path)
    loaded, first = load_rule(path), load_rule(run / "rule.json")
    assert loaded.rule == first.rule
    assert all(torch.equal(loaded.phi[name], first.phi[name]) for name in first.phi)


def test_what_cannot_be_exported(run: Path) -> None:
    refused(rayl2o("export", run, "--format", "latex", "--json"), "distil")
    refused(rayl2o("export", run, "--format", "python", "--json"), "distil")
    refused(rayl2o("export", run, "--format", "json", "--json"), "--out")
    refused(rayl2o("export", "adam:lr=0.01", "--format", "json", "--json"), "classic rule")
