"""The tables of docs/distillation.md are those of the committed result."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.page_scripts import page_script


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    return page_script("write_l2o_page")


def test_the_page_says_what_was_measured(writer: ModuleType) -> None:
    assert writer.page() == writer.PAGE.read_text(encoding="utf-8")


def test_every_rule_has_every_column_at_every_mark(writer: ModuleType) -> None:
    rows = writer.figures()
    names = writer.rules(rows)
    assert len(names) >= 2
    for name in names:
        lines = [line for line in writer.losses(rows).splitlines() if line.startswith(f"| {name} |")]
        assert [line.split(" | ")[1].split(" x ")[0] for line in lines] == [
            "network",
            "network",
            "distilled",
            "gained",
            "tuned",
        ]
        assert not any("?" in line for line in lines)
