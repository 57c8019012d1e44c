from __future__ import annotations

import io

from rich.console import Console

from rayl2o.study.results import rows
from rayl2o.study.tables import blocks, markdown, rich_table
from tests.study.examples import DM, document, example, trained


def test_a_table_per_evaluation_and_clock() -> None:
    data = example()
    found = blocks(data, rows(data))
    assert [block.title for block in found] == [
        "quadratic, 5 steps, 2 seeds, after all updates",
        "quadratic, 5 steps, 2 seeds, after 2 CPU seconds of training",
    ]
    lines = markdown(found).splitlines()
    (exact,) = (line for line in lines[:8] if line.startswith("| dm / exact |"))
    cells = [cell.strip() for cell in exact.strip("|").split("|")]
    assert cells[:4] == ["dm / exact", "1.8", "1 to 3.4", "2 of 3"]
    assert cells[4].startswith("-0.7 (")
    assert cells[5:] == ["too few pairs", "-1.00", "", "0.500", "3", "1.5"]
    (adam,) = (line for line in lines[:8] if line.startswith("| adam:lr=0.1 |"))
    assert "| 1 of 2 |" in adam
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_columns_without_content_are_left_out() -> None:
    data = document([trained(DM, 0, [1.0]), trained(DM, 1, [2.0])])
    (block,) = blocks(data, rows(data))
    headings = [column.heading for column in block.columns]
    assert headings == ["rule / credit", "mean loss", "interval", "last log-loss", "updates", "CPU s"]


def test_a_terminal_shows_the_same_cells() -> None:
    data = example()
    block = blocks(data, rows(data))[0]
    said = io.StringIO()
    Console(file=said, width=250).print(rich_table(block))
    for row in block.rows:
        for column in block.columns:
            assert column.cell(row) in said.getvalue()
