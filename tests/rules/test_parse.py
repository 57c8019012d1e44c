"""The white list: legal formulas are read exactly, everything else is refused in one clear line and never run."""

from __future__ import annotations

import pytest

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Binary, Const, Node, Unary, Var
from rayl2o.rules.operands import Ema, Lag, Signal
from rayl2o.rules.parse import MAX_LENGTH, parse_expression

G, Q = Var(Signal("g")), Var(Signal("q"))


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("g", G),
        ("-0.5*g", Binary("*", Const(-0.5), G)),
        ("- 2", Const(-2.0)),
        ("-g", Unary("neg", G)),
        ("neg(2)", Unary("neg", Const(2.0))),
        ("-g*q", Binary("*", Unary("neg", G), Q)),
        ("-(g*q)", Unary("neg", Binary("*", G, Q))),
        ("g - q - g", Binary("-", Binary("-", G, Q), G)),
        ("g - (q - g)", Binary("-", G, Binary("-", Q, G))),
        ("g/q*2", Binary("*", Binary("/", G, Q), Const(2.0))),
        ("  g\n + q ", Binary("+", G, Q)),
        ("spow(g, 0.5)", Binary("spow", G, Const(0.5))),
        ("lag(g, 3)", Var(Lag("g", 3))),
        ("ema(m_tilde, .9)", Var(Ema("m_tilde", 0.9))),
        ("tanh(ema(q, 9e-1))", Unary("tanh", Var(Ema("q", 0.9)))),
    ],
)
def test_legal(text: str, root: Node) -> None:
    assert parse_expression(text) == Expression(root)


HOSTILE = {
    # Python
    "__import__('os').system('id')": "character that no formula has",
    "__import__(g)": "unknown operator: got '__import__'",
    "exec(g)": "unknown operator: got 'exec'; did you mean 'exp'",
    "eval(g)": "unknown operator: got 'eval'",
    "g.real": "not allowed.*'g.real'",
    "g.__class__.__bases__": "not allowed",
    "(1).__class__": "not allowed",
    "tanh.__call__(g)": "not allowed",
    "lambda: g": "character that no formula has: got ':'",
    "[g for g in q]": "character that no formula has",
    "(g for g in q)": "not allowed",
    "{g}": "character that no formula has",
    "g[0]": "character that no formula has",
    "(g, q)": "not allowed",
    "g if q else t": "not allowed",
    "g and q": "not allowed",
    "not g": "not allowed",
    "(yield g)": "not allowed",
    "await g": "not allowed",
    "g is q": "not allowed",
    "tanh(*g)": "not allowed",
    "g := 1": "character that no formula has",
    "g; q": "character that no formula has",
    "import os": "not a formula",
    "del g": "not a formula",
    "f'{g}'": "character that no formula has",
    "g # comment": "character that no formula has",
    "g \\\n + q": "character that no formula has",
    "g @ q": "character that no formula has",
    "tanh(x=g)": "character that no formula has",
    "tanh(g)(g)": "not allowed",
    "None": "unknown signal|is a number",
    "True": "is a number: got True",
    "...": "is a number",
    # arithmetic that the table does not have
    "g ** 2": "not allowed",
    "g ^ 2": "character that no formula has",
    "g // 2": "not allowed",
    "g % 2": "character that no formula has",
    "+g": "not allowed",
    "~g": "character that no formula has",
    "1 < g": "character that no formula has",
    "1j*g": "is a number",
    # numbers
    "nan": "unknown signal: got 'nan'",
    "inf*g": "unknown signal: got 'inf'",
    "1e400*g": "bad constant: got inf",
    "-1e400*g": "bad constant: got inf",
    "1e300": "bad constant",
    "9" * 399 + "*g": "bad constant: got 'a value of type int'",
    "9" * 6_000: "too many digits",
    "0x" + "f" * 6_000: "bad constant: got 'a value of type int'",
    # names and arity
    "gtilde": "unknown signal: got 'gtilde'; did you mean 'g_tilde'",
    "tan(g)": "unknown operator: got 'tan'; did you mean 'tanh'",
    "tanh": "'tanh' needs arguments",
    "ema": "'ema' needs arguments",
    "tanh()": "takes 1 argument: got 0",
    "tanh(g, q)": "takes 1 argument: got 2",
    "spow(g)": "takes 2 arguments: got 1",
    "ema(g)": "takes a signal and a number: got 1",
    "ema(g, 0.9, 1)": "takes a signal and a number: got 3",
    "ema(tanh(g), 0.9)": "applies to a signal only: got 'tanh\\(g\\)'",
    "ema(g, 1.5)": "bad beta",
    "ema(g, g)": "takes a plain number",
    "ema(g, -0.5)": "takes a plain number",
    "ema(t, 0.5)": "no lag and no ema",
    "lag(g, 0)": "bad lag",
    "lag(g, 2.5)": "bad lag",
    "lag(g, 1000)": "bad lag",
    "lag(G, 1)": "unknown signal",
    # text
    "": "not a formula",
    "   ": "not a formula",
    "g +": "not a formula",
    "g g": "not a formula",
    "2g": "not a formula",
    "(g": "not a formula|nested",
    "g\x00": "character that no formula has",
    "ｇ": "character that no formula has",
    "g\u202e": "character that no formula has",
    # size
    "(" * 5_000 + "g" + ")" * 5_000: "nested too deeply",
    "tanh(" * 5_000 + "g" + ")" * 5_000: "nested too deeply",
    "tanh(" * 100 + "g" + ")" * 100: "nested too deeply",
    "-" * 5_000 + "g": "nested too deeply",
    "-" * 150 + "g": "nested too deeply",
    "+".join(["g"] * 10_000): "nested too deeply|over 1000 nodes",
    "+".join(["g"] * 150): "nested too deeply",
    "g" * (MAX_LENGTH + 1): "too long",
}


@pytest.mark.filterwarnings("ignore:invalid decimal literal")
@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:24].encode("unicode_escape").decode())
def test_hostile(text: str) -> None:
    with pytest.raises(UserError, match=HOSTILE[text]) as caught:
        parse_expression(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_too_many_nodes_in_few_levels() -> None:
    text = "g"
    for _ in range(10):
        text = f"({text}) + ({text})"
    with pytest.raises(UserError, match="over 1000 nodes"):
        parse_expression(text)


def test_not_text() -> None:
    with pytest.raises(UserError, match="a formula is text"):
        parse_expression(b"g")  # type: ignore[arg-type]
