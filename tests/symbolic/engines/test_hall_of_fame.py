"""Files as PySR writes them, of today (its 2.7 format) and of 2020-21, and what a hostile or torn one may hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.operands import Operand, Variable, column_operand
from rayl2o.symbolic.engines.hall_of_fame import (
    MAX_BYTES,
    MAX_ROWS,
    numbered,
    parse_equation,
    parse_hall_of_fame,
    read_hall_of_fame,
)

COLUMNS = numbered(("g0", "m", "t"))
X = np.random.default_rng(0).normal(size=(50, 3))
A, B, C = X.T

TODAY = """Complexity,Loss,Equation
1,0.5,"x1"
3,0.25,"x0 * -1.5f-1"
5,1.0e-3,"o_div(x0, x1 + 2.0e0)"
7,9.5f-4,"o_ssqrt(x0) - (tanh(x2) * 3.0)"
"""
OLD = """Complexity|MSE|Equation
1|0.0244|x0
5|0.0231|plus(x0, mult(-0.5, x1))
9|0.0208|sub(tanh(x2), pow(x0, div(x1, 2.0f0)))
4|0.02|cube(plus(x0, x1))
"""


def values(expression: Expression) -> np.ndarray:
    columns: dict[Operand, torch.Tensor] = {
        column_operand(name): torch.from_numpy(X[:, i].copy()) for i, name in enumerate(("g0", "m", "t"))
    }
    return np.broadcast_to(expression.evaluate(columns).numpy(), A.shape)


def test_the_format_of_today() -> None:
    hall = parse_hall_of_fame(TODAY, COLUMNS)
    assert not hall.skipped
    assert [(row.complexity, row.loss) for row in hall.rows] == [(1, 0.5), (3, 0.25), (5, 1e-3), (7, 9.5e-4)]
    assert hall.rows[0].expression.operands == (Variable("m"),)
    assert [row.expression.complexity for row in hall.rows[:3]] == [1, 3, 5]
    np.testing.assert_allclose(values(hall.rows[2].expression), A / (B + 2))
    np.testing.assert_allclose(values(hall.rows[3].expression), np.sign(A) * np.sqrt(abs(A)) - 3 * np.tanh(C))


def test_the_format_of_2020() -> None:
    hall = parse_hall_of_fame(OLD, COLUMNS)
    assert not hall.skipped
    assert [row.loss for row in hall.rows] == [0.0244, 0.0231, 0.0208, 0.02]
    expected = (A, A - B / 2, np.tanh(C) - np.sign(A) * abs(A) ** (B / 2), (A + B) ** 3)
    for row, wanted in zip(hall.rows, expected, strict=True):
        np.testing.assert_allclose(values(row.expression), wanted, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x0 - -0.5", A + 0.5),
        ("-0.5 * x0 * x1", -0.5 * A * B),
        ("x0 - x1 - x2", A - B - C),
        ("x0 / x1 / x2", A / B / C),
        ("x0-(x1-x2)", A - B + C),
        ("neg(square(x0))", -(A**2)),
        ("-(x0)", -A),
        ("inv(plus(square(x0), 1f0))", 1 / (A**2 + 1)),
        ("o_spow(x0, 2.0)", np.sign(A) * A**2),
        ("pow_abs(x0, 3)", abs(A) ** 3),
        ("sqrtm(x0)", np.sqrt(abs(A))),
        ("sub(x0, sub(x1, x2))", A - B + C),
        ("mult(plus(x0, x1), x2)", (A + B) * C),
        ("o_relu(o_exp(x0) - o_square(x1))", np.maximum(np.exp(A) - B**2, 0)),
        ("abs(sign(x0)) + o_sinh(o_asinh(x1))", 1 + B),
        ("2.5e-1", np.full_like(A, 0.25)),
        (".5 + 1.", np.full_like(A, 1.5)),
    ],
)
def test_equations_mean_what_they_say(text: str, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(values(parse_equation(text, COLUMNS)), wanted, rtol=1e-12)


def test_columns_may_exchange_names_and_be_named_as_a_function_of_theirs() -> None:
    assert str(parse_equation("x0 - x1", {"x0": "x1", "x1": "x0"})) == "x1 - x0"
    assert str(parse_equation("plus(plus, g_1)", {"plus": "plus", "g_1": "a"})) == "plus + a"


HOSTILE = (
    "__import__('os').system('echo x')",
    'eval("1")',
    "x0.__class__",
    "().__class__.__bases__",
    "lambda: x0",
    "[x0 for x0 in x1]",
    "x0 if x1 else x2",
    "x0 := 1",
    "x0 ** 2",
    "x0 ^ 2.0",
    "x0 > x1",
    "greater(x0, x1)",
    "run(`rm -rf x`)",
    "1.0 + 2.0im",
    "NaN",
    "x0 + Inf",
    "-Inf",
    "1e400 * x0",
    "9" * 500,
    "1e13",
    "x3",
    "m",
    "g",
    "lag(x2, 3)",
    "ema(x0, 0.9)",
    "t + 1",
    "cos(x0)",
    "tanh(x0, x1)",
    "plus(x0)",
    "plus(x0, x1, x2)",
    "plus()",
    "cube(x0, x1)",
    "o_div(x0)",
    "plus",
    "tanh",
    "x0 +",
    "(x0",
    "x0)",
    ")(",
    "plus(x0, x1",
    ",",
    "2x0",
    "x0 x1",
    "1.0.5",
    "",
    "   ",
    "x0 # x1",
    "x0\\",
    "x0\x00",
    "ｘ0",
    "x0 + é",
    "(" * 90_000 + "x0",
    "(" * 5_000 + "x0" + ")" * 5_000,
    "tanh(" * 300 + "x0" + ")" * 300,
    "plus(" * 300 + "x0" + ", x0)" * 300,
    "-" * 20_000 + "x0",
    " + ".join(["x0"] * 3_000),
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_equation_is_one_clear_error(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_equation(text, COLUMNS)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


ROWS = (
    '5,0.1,"x0 + ',
    "5,0.1",
    "5",
    ",,",
    "5,0.1,x0,x1",
    '5,0.1,"x0"y',
    "five,0.1,x0",
    "-1,0.1,x0",
    "0,0.1,x0",
    "1e3,0.1,x0",
    "99999999999999999999,0.1,x0",
    "5,NaN,x0",
    "5,Inf,x0",
    "5,1e999,x0",
    "5,,x0",
    "5,0x10,x0",
    "5,1f,x0",
    "5,0.1,",
    "5,0.1,NaN",
    '5,0.1,"' + "x0 + " * 20_000 + '1"',
    "٥,0.1,x0",
)


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_a_bad_row_is_skipped_and_counted(row: str) -> None:
    hall = parse_hall_of_fame(f"Complexity,Loss,Equation\n1,0.5,x0\n{row}\n\n3,0.25,x0 * 2.0\n", COLUMNS)
    assert [each.complexity for each in hall.rows] == [1, 3]
    assert [each.line for each in hall.skipped] == [3]
    assert hall.skipped[0].reason


@pytest.mark.parametrize("text", ["", "\n", "a,b,c\n1,2,x0", "Complexity;Loss;Equation", "1,0.5,x0", "\x00" * 50])
def test_no_header_no_hall_of_fame(text: str) -> None:
    with pytest.raises(UserError, match="header"):
        parse_hall_of_fame(text, COLUMNS)


def test_rows_beyond_the_limit_are_left_out_and_said_to_be() -> None:
    hall = parse_hall_of_fame("Complexity,Loss,Equation\n" + "1,0.5,bad(\n" * (MAX_ROWS + 50), {})
    assert len(hall.skipped) == MAX_ROWS + 1
    assert "left out" in hall.skipped[-1].reason


def test_a_torn_file_falls_back_on_its_backup(tmp_path: Path) -> None:
    path = tmp_path / "hall_of_fame.csv"
    path.write_text(TODAY[: TODAY.index("o_div")])
    assert len(read_hall_of_fame(path, COLUMNS).rows) == 2
    path.with_name("hall_of_fame.csv.bak").write_text(TODAY)
    assert len(read_hall_of_fame(path, COLUMNS).rows) == 4
    path.write_bytes(b"\xff\xfe\x00")
    assert len(read_hall_of_fame(path, COLUMNS).rows) == 4
    path.unlink()
    assert len(read_hall_of_fame(path, COLUMNS).rows) == 4


def test_the_backup_of_2020_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "hall_of_fame.csv.bkup").write_text("\ufeff" + OLD, encoding="utf-8")
    assert len(read_hall_of_fame(tmp_path / "hall_of_fame.csv", COLUMNS).rows) == 4


def test_no_file_and_a_huge_file(tmp_path: Path) -> None:
    path = tmp_path / "hall_of_fame.csv"
    with pytest.raises(UserError, match="no hall of fame"):
        read_hall_of_fame(path, COLUMNS)
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no room
    with pytest.raises(UserError, match="too large"):
        read_hall_of_fame(path, COLUMNS)
