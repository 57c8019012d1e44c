from __future__ import annotations

import io

from rich.console import Console

from rayl2o.study.measured import measured
from rayl2o.study.measured_tables import MC, TPF, measured_blocks
from rayl2o.study.tables import markdown, rich_table
from tests.study.examples import distilling_example, example

DATA = distilling_example()
BESIDE = {TPF: {"S": {"dm-first": "25.2"}}, MC: {"S": {"sgd:lr=0.03": "1 input"}}}


def test_tables_of_tpf_mc_and_r2_with_columns_from_elsewhere() -> None:
    found = measured_blocks(DATA, measured(DATA), BESIDE)
    assert [block.title for block in found] == [
        "TPF within 5 and 20 steps, quadratic, runs of 60 steps",
        "MC in nodes by largest 1 - R2 on held-out rows; formulas over averages (6 betas) of each signal, engine linear",
        "R2 on rows that chose nothing; formulas over averages (6 betas) of each signal, engine linear",
    ]
    lines = markdown(found).splitlines()
    assert "| rule | input | TPF, 5 steps | TPF, 20 steps | S |" in lines
    assert "| dm-first | g | 0.5 | 5.0 (4.0 to 6.0) | 25.2 |" in lines
    assert "| rule | 0.05 | 0.5 | inputs, 0.5 | S |" in lines
    assert "| sgd:lr=0.03 | 3 | 3 | 1 | 1 input |" in lines
    assert "| dm-first | 9, 1 of 2 | 3 | 1 |  |" in lines
    assert "| rule | ≤ 3 nodes | ≤ 60 nodes | sound, ≤ 60 | buffers, ≤ 60 | CPU s |" in lines
    assert "| dm-first | 0.830 (0.800 to 0.860) | 0.930 (0.900 to 0.960) | 0.830 (0.800 to 0.860) | 2 | 1.2 |" in lines


def test_a_terminal_shows_the_same_cells() -> None:
    block = measured_blocks(DATA, measured(DATA))[0]
    said = io.StringIO()
    Console(file=said, width=200).print(rich_table(block))
    for row in block.rows:
        for column in block.columns:
            assert column.cell(row) in said.getvalue()


def test_nothing_distilled_gives_no_table() -> None:
    assert measured_blocks(example(), []) == []
