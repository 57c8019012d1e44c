"""Operon's trees against numpy, the engine with a stand-in for its process, and Operon itself where it is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.rules.nodes import Node, Unary, Var
from rayl2o.rules.operands import Operand, Signal, Variable, column_operand
from rayl2o.symbolic.engines import operon
from rayl2o.symbolic.engines.base import Budget, Data
from rayl2o.symbolic.engines.operon import Operon
from rayl2o.symbolic.engines.operon_nodes import SYMBOLS, Step, expression_of, without_offset
from rayl2o.symbolic.engines.own_process import Ended, read_job

A, B = np.random.default_rng(0).normal(size=(2, 40)) * 2
LEAVES: tuple[Node, ...] = (Var(Variable("a")), Var(Variable("b")))
COLUMN_A, COLUMN_B = ("variable", 1.0, 0), ("variable", 1.0, 1)
COLUMNS: Mapping[Operand, torch.Tensor] = {Variable("a"): torch.from_numpy(A), Variable("b"): torch.from_numpy(B)}
OF_A = {
    "abs": np.abs(A), "exp": np.exp(A), "sinh": np.sinh(A), "sqrtabs": np.sqrt(np.abs(A)), "square": A**2,
    "tanh": np.tanh(A),
}  # fmt: skip
OF_A_B = {
    "add": A + B, "sub": A - B, "mul": A * B, "div": A / B, "aq": A / np.sqrt(1 + B**2), "powabs": np.abs(A) ** B,
    "max": np.maximum(A, B), "min": np.minimum(A, B),
}  # fmt: skip


def values(expression: Expression) -> np.ndarray:
    return expression.evaluate(COLUMNS).numpy()


def call(symbol: str) -> Step:
    return (symbol, 0.0, -1)


def number(value: float) -> Step:
    return ("constant", value, -1)


# Trees


def test_every_symbol_means_what_operon_computes() -> None:
    assert set(SYMBOLS) == {*OF_A, *OF_A_B}
    for symbol, wanted in OF_A.items():
        np.testing.assert_allclose(values(expression_of([COLUMN_A, call(symbol)], LEAVES)), wanted, rtol=1e-12)
    for symbol, wanted in OF_A_B.items():
        found = values(expression_of([COLUMN_B, COLUMN_A, call(symbol)], LEAVES))
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12, err_msg=symbol)


def test_weights_constants_and_order() -> None:
    tree = [number(0.5), ("variable", -1.5, 1), call("sub"), COLUMN_A, call("mul"), number(-2.0), call("add")]
    expression = expression_of(tree, LEAVES)
    assert str(expression) == "-2.0 + a*(-1.5*b - 0.5)"
    np.testing.assert_allclose(values(expression), -2 + A * (-1.5 * B - 0.5))
    plain = without_offset(expression)
    assert plain is not None
    np.testing.assert_allclose(values(plain), A * (-1.5 * B - 0.5))
    assert without_offset(plain) is None


def test_a_larger_of_a_constant_is_a_relu() -> None:
    expression = expression_of([number(0.25), COLUMN_A, call("max")], LEAVES)
    assert expression.complexity == 6
    np.testing.assert_allclose(values(expression), np.maximum(A, 0.25))


@pytest.mark.parametrize(
    "tree",
    [
        [], [COLUMN_A, COLUMN_B], [call("tanh")], [COLUMN_A, call("add")], [COLUMN_A, call("log")],
        [COLUMN_A, call("__import__('os')")], [("variable", 1.0, 2)], [("variable", 1.0, -1)], [("variable", 1.0, True)],
        [("variable", float("nan"), 0)], [number(float("inf"))], [number(1e13)],
        [COLUMN_A] + [call("abs")] * 200, [COLUMN_A] * 3000 + [call("add")] * 2999,
        [COLUMN_A] + [COLUMN_B, call("max"), COLUMN_B, call("min"), call("square")] * 400,
    ],
    ids=range(15),
)  # fmt: skip
def test_a_tree_that_is_none_is_a_clear_error(tree: Sequence[Step]) -> None:
    with pytest.raises(UserError):
        expression_of(tree, LEAVES)


def test_a_nest_of_maxima_cannot_explode() -> None:
    nest = [COLUMN_A, COLUMN_B, call("max")]
    for _ in range(20):
        nest = [*nest, COLUMN_A, COLUMN_B, call("max"), call("min")]
    assert expression_of(nest, LEAVES).complexity < 1000


# The engine, with a stand-in for its process


def columns_of(data: Data) -> dict[Operand, torch.Tensor]:
    return {column_operand(name): torch.from_numpy(data.x[:, i].copy()) for i, name in enumerate(data.names)}


DATA = Data(("a", "t"), np.column_stack((A, B)), A * B)
TREES = [
    [["variable", 2.0, 0]],
    [COLUMN_A, COLUMN_B, ["mul", 0.0, -1], ["constant", 0.5, -1], ["add", 0.0, -1]],
    [COLUMN_A, ["log", 0.0, -1]],
    [COLUMN_A, *[COLUMN_B, ["mul", 0.0, -1]] * 30],
]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each process would have been told; all of them find TREES."""
    seen: list[dict[str, Any]] = []

    def run(arguments: Sequence[str], folder: Path, timeout_s: float) -> Ended:
        x, _, settings = read_job(folder)
        seen.append({**settings, "x": x, "timeout_s": timeout_s})
        (folder / "front.json").write_text(json.dumps({"trees": TREES}))
        return Ended(-11, False, "")

    monkeypatch.setattr(operon, "run", run)
    monkeypatch.setattr(operon, "available", lambda: True)
    return seen


def test_formulas_of_growing_complexity_with_and_without_offset(jobs: list[dict[str, Any]]) -> None:
    found = Operon().fit(DATA, DATA, Budget(cpu_s=10.0, max_complexity=25), seed=3)
    assert [str(each) for each in found] == ["2.0*a", "t*a", "0.5 + t*a"]
    assert found[1].operands == (Signal("t"), Variable("a"))
    assert [(job["max_length"], job["cpu_s"], job["generations"]) for job in jobs] == [(10, 10.0, 25)]


def test_restarts_have_their_own_seeds_and_share_the_time(jobs: list[dict[str, Any]]) -> None:
    engine = Operon(restarts=3)
    found = engine.fit(DATA, DATA, Budget(cpu_s=12.0), seed=3)
    assert [job["cpu_s"] for job in jobs] == [4.0] * 3
    assert len({job["seed"] for job in jobs}) == 3
    assert all(0 <= job["seed"] < 2**63 for job in jobs)
    assert len(found) == len(set(found))
    engine.fit(DATA, DATA, Budget(cpu_s=12.0), seed=3)
    assert [job["seed"] for job in jobs[3:]] == [job["seed"] for job in jobs[:3]]


def test_extra_columns_are_our_operators_of_the_inputs(jobs: list[dict[str, Any]]) -> None:
    Operon(extra=("asinh", "erfc")).fit(DATA, DATA, Budget(), seed=3)
    np.testing.assert_allclose(jobs[0]["x"][:, 2:4], np.arcsinh(DATA.x))
    leaves = operon._leaves(DATA.names, ("asinh", "erfc"))
    assert leaves[3] == Unary("asinh", Var(Signal("t")))
    columns = columns_of(DATA)
    for i, leaf in enumerate(leaves):
        np.testing.assert_allclose(Expression(leaf).evaluate(columns).numpy(), jobs[0]["x"][:, i])


def test_nothing_usable_is_a_clear_error(jobs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no formula that we can use"):
        Operon().fit(DATA, DATA, Budget(max_complexity=2), seed=3)
    for ended, what in ((Ended(-11, False, "boom"), "status -11.*boom"), (Ended(-9, True, ""), "in its time")):
        monkeypatch.setattr(operon, "run", lambda *arguments, ended=ended: ended)
        with pytest.raises(UserError, match=what):
            Operon().fit(DATA, DATA, Budget(), seed=3)


def test_without_operon_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operon, "available", lambda: False)
    with pytest.raises(UserError, match="pip install"):
        Operon().fit(DATA, DATA, Budget(), seed=3)


@pytest.mark.parametrize(
    "bad",
    [
        {"population": 1}, {"generations": 0}, {"generations": 2.0}, {"constant_steps": -1}, {"max_depth": 1},
        {"restarts": 0}, {"memory_mb": -1}, {"symbols": ("fmax",)}, {"symbols": ("log",)}, {"extra": ("/",)},
        {"extra": ("cos",)},
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_setting_is_a_clear_error(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Operon(**bad)


# Operon itself


needs_operon = pytest.mark.skipif(not operon.available(), reason="needs pyoperon")
SMALL = Operon(population=40, generations=7, constant_steps=3)


def rows(seed: int) -> Data:
    x = np.random.default_rng(seed).normal(size=(300, 3))
    return Data(("a", "b", "c"), x, np.tanh(x[:, 0]) - 0.5 * x[:, 1] + 0.3 * np.maximum(x[:, 2], 0.0))


@needs_operon
def test_operon_computes_what_the_adapter_believes() -> None:
    """The trees it hands over, evaluated by us, reach the error it must have seen: far below that of the best constant."""
    train, fresh = rows(1), rows(2)
    found = SMALL.fit(train, train, Budget(cpu_s=60.0, max_complexity=40), seed=1)
    assert [each.complexity for each in found] == sorted(each.complexity for each in found)
    assert found[-1].complexity <= 40
    columns = columns_of(fresh)
    errors = [float(np.mean((each.evaluate(columns).numpy() - fresh.y) ** 2)) for each in found if each.operands]
    assert min(errors) < 0.1 * float(fresh.y.var())


@needs_operon
def test_same_seed_same_formulas_other_seed_others() -> None:
    train, budget = rows(1), Budget(cpu_s=60.0, max_complexity=30)
    engine = Operon(population=30, generations=6, constant_steps=1)
    first, second, other = (engine.fit(train, train, budget, seed=seed) for seed in (1, 1, 2))
    assert first == second
    assert first != other


@needs_operon
@pytest.mark.parametrize("x", [np.zeros((0, 2)), np.full((5, 2), np.nan)], ids=["none", "nan"])
def test_rows_that_operon_refuses_are_a_clear_error(x: np.ndarray) -> None:
    data = Data(("a", "b"), x, np.zeros(len(x)))
    with pytest.raises(UserError, match=r"operon ended.*(sample|NaN)"):
        SMALL.fit(data, data, Budget(cpu_s=5.0), seed=1)
