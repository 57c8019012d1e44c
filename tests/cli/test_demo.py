"""The verb alone; what it runs is tested with the demo itself."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tests.cli.command import rayl2o, refused


@dataclass(frozen=True)
class _Config:
    data: str
    out: Path
    seed: int
    runtime: str


class _Result:
    def __init__(self, config: _Config) -> None:
        self._config = config
        self.table = Table("rule")
        self.table.add_row("network")

    def to_json(self) -> dict[str, Any]:
        low = float("nan")
        row = {
            "rule": "network",
            "kind": "learned",
            "task": "mlp-orig",
            "trained_on": True,
            "mean_loss": 0.1,
            "low": low,
        }
        return {"report": str(self._config.out / "report.html"), "seconds": 12.0, "table": [row]}


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = ModuleType("rayl2o.demo")

    def run_demo(config: _Config, console: Console) -> _Result:
        console.print(f"on {config.data} with seed {config.seed}")
        return _Result(config)

    demo.DemoConfig, demo.run_demo = _Config, run_demo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rayl2o.demo", demo)


def test_the_contract_of_demo(tmp_path: Path) -> None:
    said = rayl2o("demo", "--out", tmp_path, "--data", "mnist", "--seed", "3", "--json")
    assert said.json["report"] == str(tmp_path / "report.html")
    assert said.json["seconds"] == 12.0
    assert said.json["table"][0]["low"] is None
    assert said.err == "on mnist with seed 3\n"


def test_people_see_table_and_report(tmp_path: Path) -> None:
    said = rayl2o("demo", "--out", tmp_path)
    assert said.code == 0
    assert "network" in said.out
    assert "report.html" in said.out.replace("\n", "")


@pytest.mark.parametrize(("args", "says"), [(("--data", "minst"), "'mnist'"), (("--runtime", "ray"), "runtime")])
def test_a_mistake(args: tuple[str, ...], says: str) -> None:
    refused(rayl2o("demo", *args, "--json"), says)
