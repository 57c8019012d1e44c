from __future__ import annotations

import contextlib
import io
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from rayl2o.cli.output import number, one_line, output, strict


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (1.5, 1.5),
        (True, True),
        (None, None),
        ("x", "x"),
        (3, 3),
        ((1, math.nan), [1, None]),
        ({1: math.inf, "a": {"b": (2.0,)}}, {"1": None, "a": {"b": [2.0]}}),
        (Path("a/b"), "a/b"),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (torch.tensor(0.25), 0.25),
    ],
)
def test_strict_gives_plain_json(value: object, plain: object) -> None:
    assert strict(value) == plain
    json.dumps(strict(value), allow_nan=False)


def _said(as_json: bool) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), output(as_json) as says:
        logging.getLogger("rayl2o.anything").warning("[beware] of it")
        says.err.print("on the way")
        says.result({"loss": math.nan}, "shown to people")
    return out.getvalue(), err.getvalue()


def test_json_goes_alone_to_stdout() -> None:
    out, err = _said(as_json=True)
    assert out == '{"loss": null}\n'
    assert "[beware] of it" in err
    assert "on the way" in err


def test_people_get_no_json() -> None:
    out, err = _said(as_json=False)
    assert out == "shown to people\n"
    assert "shown" not in err


def test_the_log_is_let_go_afterwards() -> None:
    before = list(logging.getLogger("rayl2o").handlers)
    _said(as_json=True)
    assert logging.getLogger("rayl2o").handlers == before


def test_one_line_stays_one_line() -> None:
    assert one_line("a\nb\t c\x1b[31m") == "a b c\\x1b[31m"
    assert one_line("ä ≤") == "ä ≤"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (math.nan, "-"), (0.123456, "0.1235"), (12345.6, "12,346"), (1234.5, "1234"), (1e-9, "1e-09")],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text
