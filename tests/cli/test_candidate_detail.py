from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path

import torch
from rich.console import Console

from rayl2o.cli.candidate_detail import detail, whole_row
from rayl2o.cli.front_document import front_document
from rayl2o.cli.output import strict
from rayl2o.rules.base import Inputs
from rayl2o.rules.parse import parse_expression
from tests.cli.fronts import document


def _text(index: int, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(detail(front_document(document()).entries[index]))
    return file.getvalue()


def test_all_that_is_known_is_shown() -> None:
    for index, words in (
        (0, ("candidate 0", "training 0.710", "late 0.600", "w 0.700", "by run: 0.2   0.25   0.3", "nothing found")),
        (2, ("diverged in 2 runs",)),
        (3, ("not run", "flagged: stretch: 13 times")),
        (4, ("refused", "ascent: a constant gradient is ascended")),
    ):
        text = _text(index)
        for word in words:
            assert word in text, word


def test_the_exact_text_and_the_python_are_the_formula(tmp_path: Path) -> None:
    entry = front_document(document()).entries[1]
    row = json.loads(json.dumps(strict(whole_row(entry)), allow_nan=False))
    assert parse_expression(row["formula"]) == entry.candidate.expression
    (tmp_path / "formula.py").write_text(row["python"], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("formula", tmp_path / "formula.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    grad = torch.tensor([0.5, -2.0])
    rule = entry.candidate.rule()
    state = torch.zeros(rule.buffers, 2)
    delta, _ = rule.update(rule.init_phi(), Inputs(grad, torch.tensor(0.0)), {"coord": torch.zeros(2, rule.state_size)})
    assert torch.allclose(module.update(grad, 0, state), delta)
    assert {"latex", "pretty", "clamp", "r2_tensors", "selected", "refused"} <= set(row)
