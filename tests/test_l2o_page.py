"""The tables of docs/distillation.md are those of the committed result."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / "write_l2o_page.py"), run_name="script")


def test_the_page_says_what_was_measured(script: dict[str, Any]) -> None:
    assert script["page"]() == (ROOT / "docs" / "distillation.md").read_text(encoding="utf-8")


def test_every_rule_has_every_column_at_every_mark(script: dict[str, Any]) -> None:
    rows = script["figures"]()
    names = script["rules"](rows)
    assert len(names) >= 2
    for name in names:
        lines = [line for line in script["losses"](rows).splitlines() if line.startswith(f"| {name} |")]
        assert [line.split(" | ")[1].split(" x ")[0] for line in lines] == [
            "network",
            "network",
            "distilled",
            "gained",
            "tuned",
        ]
        assert not any("?" in line for line in lines)
