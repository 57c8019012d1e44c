"""The page of tasks is what the registry and the committed benchmark say."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from rayl2o.tasks.catalogue import NAMED
from tests.page_scripts import page_script

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    return page_script("write_task_page")


def test_the_page_is_up_to_date(writer: ModuleType) -> None:
    assert (ROOT / "docs" / "tasks.md").read_text() == writer.page(), "run: python scripts/write_task_page.py"


def test_every_named_task_with_a_size_has_a_row(writer: ModuleType) -> None:
    page = writer.page()
    assert all(f"| `{name}` |" in page for name in NAMED)


def test_a_cost_is_milliseconds_and_says_what_it_is_against(
    writer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost = {"value": 2000.0, "ratio": 3.21, "against": "autograd, in a loop"}
    monkeypatch.setattr(writer, "_costs", lambda: {"rosenbrock: K = 1": cost})
    (row,) = (line for line in writer.page().splitlines() if line.startswith("| `rosenbrock` |"))
    assert row.endswith("| 0.500 | 3.2* | - | - |")
