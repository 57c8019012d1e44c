"""The whole path, small: every stage runs for real, the JSON contract holds, the report is one self-contained file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from rayl2o.demo import DemoConfig, run_demo
from rayl2o.errors import UserError
from rayl2o.optim import SymbolicOptimizer
from rayl2o.rules.files import load_rule

SMALL = DemoConfig(
    overrides=("updates=20", "curriculum.n_train=[60]"), horizon=60, draws=3, tuning_updates=3, engine="linear"
)


@pytest.mark.usefixtures("ray_local")
def test_demo_small(tmp_path: Path) -> None:
    import torch

    out = tmp_path / "demo"
    done = run_demo(replace(SMALL, out=out), Console(quiet=True))
    inline = run_demo(replace(SMALL, out=tmp_path / "inline", runtime="inline"), Console(quiet=True))
    assert inline.to_json()["table"] == done.to_json()["table"], "on Ray and without it the numbers are the same"
    told = json.loads(json.dumps(done.to_json(), allow_nan=False))
    assert told == json.loads((out / "demo.json").read_text())
    assert set(told) == {"report", "seconds", "table"}
    kinds = {(row["task"], row["kind"]) for row in told["table"]}
    assert kinds == {(t, k) for t in ("mlp-orig", "mlp-relu", "mlp-deeper") for k in ("learned", "formula", "classic")}
    for row in told["table"]:
        assert set(row) == {"rule", "kind", "task", "trained_on", "mean_loss", "low", "high"}
        assert row["low"] <= row["mean_loss"] <= row["high"]
        assert row["trained_on"] == (row["task"] == "mlp-orig")
    page = (out / "report.html").read_text()
    assert "adam:lr=" in page
    assert "The update as a function of one input" in page
    assert "Updates along the same gradients" in page
    assert 'src="http' not in page
    rule = load_rule(out / "formula-distilled.json")
    assert rule.kind == "symbolic"
    model = torch.nn.Linear(3, 1)
    optimizer = SymbolicOptimizer.from_pretrained(out / "formula-distilled.json", model.parameters())
    before = model.weight.detach().clone()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert not torch.equal(before, model.weight)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="holds other files"):
        run_demo(DemoConfig(out=tmp_path), Console(quiet=True))
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_bad_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="did you mean 'mnist'"):
        DemoConfig(data="minst")
    monkeypatch.delenv("RAYL2O_DATA", raising=False)
    with pytest.raises(UserError, match="RAYL2O_DATA"):
        run_demo(DemoConfig(data="mnist", out=tmp_path / "demo"), Console(quiet=True))
    with pytest.raises(UserError, match="runtime of the demo"):
        DemoConfig(runtime="cluster")
    assert not (tmp_path / "demo").exists()
