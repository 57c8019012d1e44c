"""What may leave the engine: exploding, unsteady and useless members are refused, groups stay whole."""

from __future__ import annotations

import numpy as np
import pytest

from rayl2o.rules.nodes import Binary, Const, Node, Unary, Var
from rayl2o.rules.operands import Variable
from rayl2o.symbolic.engines.base import Data
from rayl2o.symbolic.engines.evolved_member import Member
from rayl2o.symbolic.engines.evolved_select import Judge, draw_folds
from rayl2o.symbolic.engines.evolved_values import columns_of
from rayl2o.symbolic.engines.head import weights
from tests.symbolic.engines.tables import table

X0, X1, X2 = (Var(Variable(f"x{i}")) for i in range(3))


def _noisy(seed: int, shift: float = 0.0) -> Data:
    noise = np.random.default_rng(seed + 100)
    return table(lambda x: x[:, 0] + (0.3 + shift) * x[:, 1] + 0.1 * noise.standard_normal(len(x)), seed=seed)


def _judge(max_complexity: int = 60) -> Judge:
    return Judge.of(_noisy(0), _noisy(1), max_complexity, seed=0)


def _fitted(*terms: Node) -> Member:
    member, data = Member(terms, ()), _noisy(0)
    return member.with_weights(weights(member.columns(columns_of(data)), data.y))


def _sound(member: Member) -> bool:
    expression = member.expression()
    assert expression is not None
    return bool(np.isfinite(_judge().growth(member, expression)))


def test_keeps_what_helps_from_simple_to_complex() -> None:
    useless = _fitted(X0, X1).with_weights(np.array([0.98, 0.31]))
    worse = Member((X0, X1, X2), (1.0, 0.3, 0.1))
    front = _judge().front([worse, _fitted(X0, X1), _fitted(X0), _fitted(X0, X2), useless])
    assert [expression.complexity for expression in front] == [3, 7]
    assert front[1].linear_terms() == pytest.approx({X0.operand: 1.0, X1.operand: 0.3}, abs=0.02)


def test_growing_faster_must_be_earned() -> None:
    """A fifth power that takes a little off the error is refused, one that takes much is kept."""
    fifth = Binary("spow", X0, Const(5.0))

    def judged(share: float) -> list[int]:
        train, val = (
            table(lambda x: x[:, 0] + share * x[:, 0] ** 5 + 0.3 * np.sin(50 * x[:, 1]), seed=seed) for seed in (0, 1)
        )
        judge = Judge.of(train, val, 60, seed=0)
        members = [Member((X0,), ()), Member((X0, fifth), ())]
        columns = columns_of(train)
        fitted = [member.with_weights(weights(member.columns(columns), train.y)) for member in members]
        return [expression.complexity for expression in judge.front(fitted)]

    assert judged(0.01) == [3, 9]
    assert judged(0.001) == [3]


def test_leaves_out_what_is_too_large() -> None:
    assert [e.complexity for e in _judge(max_complexity=5).front([_fitted(X0, X1), _fitted(X0)])] == [3]


@pytest.mark.parametrize(
    "term",
    [
        Unary("exp", Unary("exp", Unary("exp", X0))),
        Unary("sinh", Unary("sinh", Binary("*", Const(2.0), X0))),
    ],
    ids=["tower", "sinh of sinh"],
)
def test_refuses_explosions(term: Node) -> None:
    assert _sound(_fitted(X0, X1))
    assert not _sound(Member((X0, term), (1.0, 1.0)))


@pytest.mark.parametrize("term", [Unary("exp", X0), Binary("spow", X0, Const(3.0)), Unary("square", X0)])
def test_allows_what_the_paper_uses(term: Node) -> None:
    data = table(lambda x: np.exp(x[:, 0]) + x[:, 0] ** 3)
    judge = Judge.of(data, data, 60, seed=0)
    member = Member((term,), (0.5,))
    expression = member.expression()
    assert expression is not None
    assert np.isfinite(judge.growth(member, expression))


def test_refuses_cancellation() -> None:
    near = Unary("tanh", Binary("*", Const(1e-3), X0))
    assert not _sound(Member((X0, near), (1000.0, -999_000.0)))


def test_refuses_what_is_worse_on_a_part_of_the_validation_rows() -> None:
    """Better on average, much worse in two groups: another run may be like those two."""
    base = table(lambda x: x[:, 0])
    rows = np.arange(600)
    train = Data(base.names, base.x, base.x[:, 0] + base.x[:, 1], base.group)
    val = Data(base.names, base.x, base.x[:, 0] + np.where(rows < 120, 0.2, 1.2) * base.x[:, 1], base.group)
    judge = Judge.of(train, val, 60, seed=0)
    alone = Judge(**{**vars(judge), "val_parts": [rows < 120, rows >= 120]})
    assert len(judge.val_parts) == 3
    members = [Member((X0,), (1.0,)), Member((X0, X1), (1.0, 1.0))]
    assert [e.complexity for e in alone.front(members)] == [1]
    assert [e.complexity for e in Judge(**{**vars(judge), "val_parts": []}).front(members)] == [1, 3]


def test_refuses_what_collapses_on_a_fold() -> None:
    """A column that is nonzero in one group only: the fold with that group cannot be predicted from the others."""
    data = _noisy(0)
    inside = data.group == 3
    data.x[:, 2] = np.where(inside, 100.0 + data.x[:, 2], 1e-3 * data.x[:, 2])
    answer = np.where(inside, data.y + 1.0, data.y + 300 * data.x[:, 2])
    train = Data(data.names, data.x, answer, data.group)
    judge = Judge.of(train, train, 60, seed=0)
    members = [Member(terms, ()) for terms in ((X0, X1), (X0, X1, X2))]
    fitted = [m.with_weights(weights(m.columns(columns_of(train)), train.y)) for m in members]
    assert [e.complexity for e in judge.front(fitted)] == [7]
    assert [e.complexity for e in Judge(**{**vars(judge), "folds": []}).front(fitted)] == [7, 11]


def test_folds_keep_groups_whole_and_cover_all_rows() -> None:
    data = _noisy(0)
    folds = draw_folds(data, 3, 2, seed=5)
    assert len(folds) == 6
    assert data.group is not None
    for fold in folds:
        assert not set(data.group[fold]) & set(data.group[~fold])
    for three in (folds[:3], folds[3:]):
        np.testing.assert_array_equal(np.sum(three, axis=0), 1)
    assert not np.array_equal(folds[0], folds[3])


def test_one_group_has_no_folds() -> None:
    data = Data(("x0",), np.ones((4, 1)), np.ones(4), np.zeros(4, dtype=np.int64))
    assert draw_folds(data, 3, 2, seed=0) == []
    ungrouped = Data(("x0",), np.ones((4, 1)), np.ones(4))
    assert len(draw_folds(ungrouped, 3, 1, seed=0)) == 3
