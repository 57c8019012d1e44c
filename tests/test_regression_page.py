"""The page of symbolic regression shows the committed results."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "write_regression_page", ROOT / "scripts" / "write_regression_page.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(writer: ModuleType) -> None:
    assert writer.PAGE.read_text() == writer.page(), "run: python scripts/write_regression_page.py"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.91234, "0.9123"), (1.0, "1.0000"), (0.999_999_7, "1 - 3e-07"), (3377.7, "3,378"), (None, "-")],
)
def test_rounding_hides_no_error(writer: ModuleType, value: float | None, text: str) -> None:
    assert writer.shown(value) == text
