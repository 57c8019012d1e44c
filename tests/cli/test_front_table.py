from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from rayl2o.cli.front_table import columns_table, front_table
from rayl2o.symbolic.front import Front


def _text(*items: object) -> str:
    file = io.StringIO()
    for item in items:
        Console(file=file, width=160).print(item)
    return file.getvalue()


def test_every_candidate_has_a_line_and_the_chosen_one_a_mark(distilled: Path) -> None:
    data = json.loads((distilled / "front.json").read_text())
    front = Front.from_json(data["front"])
    text = _text(front_table(front, front.candidates[0]))
    assert ">0" in text
    assert all(f" {i} " in text for i in range(1, len(front.candidates)))
    assert ">" not in _text(front_table(front, None))


def test_columns_that_were_turned_off_are_left_out(distilled: Path) -> None:
    data = json.loads((distilled / "front.json").read_text())
    assert "tuned" in _text(columns_table(data))
    assert "tuned" not in _text(columns_table({**data, "tuned": None}))
