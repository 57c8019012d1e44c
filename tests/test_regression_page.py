"""The page of symbolic regression shows the committed results."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.page_scripts import page_script

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    return page_script("write_regression_page")


def test_the_page_is_up_to_date(writer: ModuleType) -> None:
    assert writer.PAGE.read_text() == writer.page(), "run: python scripts/write_regression_page.py"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.91234, "0.9123"), (1.0, "1.0000"), (0.999_999_7, "1 - 3e-07"), (3377.7, "3,378"), (None, "-")],
)
def test_rounding_hides_no_error(writer: ModuleType, value: float | None, text: str) -> None:
    assert writer.shown(value) == text
