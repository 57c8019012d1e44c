"""Text forms: exact text is tested where it is parsed; here what people see, and that mathtext can draw it."""

from __future__ import annotations

import io

import pytest
from matplotlib.figure import Figure

from rayl2o.rules.nodes import Binary, Const, Unary, Var
from rayl2o.rules.operands import Signal
from rayl2o.rules.operators import OPERATORS
from rayl2o.rules.parse import parse_expression
from rayl2o.rules.typeset import exact, latex, pretty
from tests.rules.formulas import FORMULAS, random_expressions

G = Var(Signal("g"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-0.5*ema(g_tilde, 0.9) + tanh(lag(g, 2))", "-0.5 ema₀.₉(g̃) + tanh(g[t-2])"),
        ("-0.1*g + -0.000012345*q", "-0.1 g - 1.23e-05 q"),
        ("g - -2*q", "g + 2 q"),
        ("g - -q", "g + q"),
        ("-(g + q)*t", "-(g + q) t"),
        ("g*(q*t)", "g (q t)"),
        ("g/(q/t)", "g / (q / t)"),
        ("g*-0.5", "g (-0.5)"),
        ("1234567*m_tilde", "1.23e06 m̃"),
    ],
)
def test_pretty(text: str, expected: str) -> None:
    assert pretty(parse_expression(text).root) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-0.012*m_tilde", r"-0.012 \, \tilde{m}_{t}"),
        ("-0.1*lag(g, 3) + -2e-05*q", r"-0.1 \, g_{t-3} - 2 \cdot 10^{-5} \, q_{t}"),
        ("1e-05*ema(g_tilde, 0.95)", r"10^{-5} \, \mathrm{ema}_{0.95}\left(\tilde{g}\right)"),
        ("g/(q + t)", r"\frac{g_{t}}{q_{t} + t}"),
        ("-(g + q)", r"-\left(g_{t} + q_{t}\right)"),
        ("square(g)*2", r"\left(g_{t}\right)^{2} \, 2"),
        ("spow(g, 0.5)", r"\mathrm{spow}\left(g_{t}, 0.5\right)"),
    ],
)
def test_latex(text: str, expected: str) -> None:
    assert latex(parse_expression(text).root) == expected


def test_digits() -> None:
    root = parse_expression("-0.123456*g").root
    assert pretty(root, 5) == "-0.12346 g"
    assert latex(root, 1) == r"-0.1 \, g_{t}"
    assert exact(root) == "-0.123456*g"


def test_a_sign_is_not_confused_with_a_negative_number() -> None:
    assert exact(Unary("neg", Const(2.0))) == "neg(2.0)"
    assert exact(Const(-2.0)) == "-2.0"
    assert exact(Unary("neg", Unary("neg", G))) == "--g"
    assert exact(Binary("-", G, Unary("neg", G))) == "g - -g"


def test_mathtext_draws_every_operator_and_formula() -> None:
    roots = [parse_expression(text).root for text in FORMULAS]
    roots += [expression.root for expression in random_expressions(25)]
    roots += [Unary(name, G) if op.arity == 1 else Binary(name, G, G) for name, op in OPERATORS.items()]
    figure = Figure(figsize=(8, len(roots) * 0.4))
    for row, root in enumerate(roots):
        figure.text(0.01, row / len(roots), rf"$\Delta\theta_{{t}} = {latex(root)}$")
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    assert drawn.getvalue().count("<use ") > 40 * len(roots) / 4


def test_nested_formulas_stay_linear_in_length() -> None:
    text = "g"
    for _ in range(80):
        text = f"ssqrt({text})"
    assert len(latex(parse_expression(text).root)) < 80 * 40


def test_a_column_of_a_table_stands_as_its_name() -> None:
    formula = parse_expression("2*step_size + x1", columns=("step_size", "x1"))
    assert formula.latex() == r"2 \, \mathrm{step\_size} + \mathrm{x1}"
    assert formula.pretty() == "2 step_size + x1"
