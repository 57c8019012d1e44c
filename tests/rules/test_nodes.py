"""Trees: walks, limits and the JSON form, whatever they are given."""

from __future__ import annotations

import math

import pytest

from rayl2o.errors import UserError
from rayl2o.rules.nodes import (
    MAX_DEPTH,
    MAX_NODES,
    Binary,
    Const,
    Node,
    Unary,
    Var,
    apply,
    check,
    fold,
    node_from_json,
    node_to_json,
    rebuild,
    walk,
)
from rayl2o.rules.operands import Ema, Lag, Signal

G = Var(Signal("g"))
TREE = Binary(
    "+", Binary("*", Const(2.0), Var(Ema("g", 0.5))), Unary("tanh", Binary("-", Var(Lag("g", 3)), Const(1.0)))
)


def _deep(levels: int) -> Node:
    node: Node = G
    for _ in range(levels - 1):
        node = Unary("tanh", node)
    return node


def _wide(nodes: int) -> Node:
    """A balanced tree."""
    if nodes <= 2:
        return G if nodes == 1 else Unary("neg", G)
    left = (nodes - 1) // 2
    return Binary("+", _wide(left), _wide(nodes - 1 - left))


def test_walk_is_pre_order_with_depth() -> None:
    names = [(node.op if isinstance(node, Unary | Binary) else "leaf", depth) for node, depth in walk(TREE)]
    assert names == [("+", 1), ("*", 2), ("leaf", 3), ("leaf", 3), ("tanh", 2), ("-", 3), ("leaf", 4), ("leaf", 4)]


def test_fold_gives_arguments_left_to_right() -> None:
    def text(node: Node, parts: tuple[str, ...]) -> str:
        if isinstance(node, Const):
            return f"{node.value:g}"
        if isinstance(node, Var):
            return str(node.operand)
        return f"({node.op} {' '.join(parts)})"

    assert fold(TREE, text) == "(+ (* 2 ema(g, 0.5)) (tanh (- lag(g, 3) 1)))"


def test_rebuild_takes_constants_in_pre_order() -> None:
    assert rebuild(TREE, [2.0, 1.0]) == TREE
    other = rebuild(TREE, [5.0, 7.0])
    assert [node.value for node, _ in walk(other) if isinstance(node, Const)] == [5.0, 7.0]


@pytest.mark.parametrize("tree", [TREE, G, Const(-1e-300), _deep(MAX_DEPTH), _wide(MAX_NODES)], ids=lambda tree: "")
def test_json_round_trip(tree: Node) -> None:
    check(tree)
    assert node_from_json(node_to_json(tree)) == tree


def test_json_is_readable() -> None:
    assert node_to_json(Binary("*", Const(-0.5), Var(Lag("g", 2)))) == {
        "op": "*",
        "args": [{"const": -0.5}, {"signal": "g", "lag": 2}],
    }
    assert node_to_json(Var(Ema("q", 0.9))) == {"signal": "q", "ema": 0.9}


def _nested_json(levels: int) -> object:
    data: object = {"signal": "g"}
    for _ in range(levels - 1):
        data = {"op": "tanh", "args": [data]}
    return data


def _nested_list(levels: int) -> object:
    data: object = []
    for _ in range(levels):
        data = [data]
    return data


def _wide_json(leaves: int) -> object:
    row: list[object] = [{"signal": "g"}] * leaves
    while len(row) > 1:
        row = [{"op": "+", "args": row[i : i + 2]} if i + 1 < len(row) else row[i] for i in range(0, len(row), 2)]
    return row[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_nested_json(MAX_DEPTH + 1), "nested too deeply"),
        (_nested_json(5_000), "nested too deeply"),
        (_nested_list(5_000), "not a node.*type list"),
        ({"op": _nested_list(5_000), "args": []}, "named by text.*type list"),
        ({"const": _nested_list(5_000)}, "is a number.*type list"),
        ({"signal": _nested_list(5_000)}, "named by text.*type list"),
        (_wide_json(5_000), "over 1000 nodes"),
        ({"op": "tanhh", "args": [{"signal": "g"}]}, "unknown operator: got 'tanhh'; did you mean 'tanh'"),
        ({"op": "tanh", "args": []}, "'tanh' takes 1 argument: got 0"),
        ({"op": "+", "args": [{"signal": "g"}]}, "'\\+' takes 2 arguments: got 1"),
        ({"op": "+", "args": [{"signal": "g"}] * 100_000}, "takes 2 arguments: got 100000"),
        ({"op": "+", "args": {"a": 1}}, "not a node"),
        ({"op": "+"}, "not a node"),
        ({"op": "tanh", "args": [{"signal": "g"}], "note": 1}, "not a node"),
        ({"const": math.nan}, "bad constant: got nan"),
        ({"const": math.inf}, "bad constant: got inf"),
        ({"const": -1e300}, "bad constant"),
        ({"const": 10**5000}, "bad constant: got 'a value of type int'"),
        ({"const": True}, "is a number: got True"),
        ({"const": "1"}, "is a number: got '1'"),
        ({"const": None}, "is a number: got None"),
        ({"const": 1.0, "signal": "g"}, "not a node"),
        ({"signal": "G"}, "unknown signal: got 'G'"),
        ({"signal": "g", "lag": 0}, "bad lag: got 0"),
        ({"signal": "g", "lag": 1.0}, "bad lag: got 1.0"),
        ({"signal": "g", "lag": True}, "bad lag: got True"),
        ({"signal": "g", "ema": 1}, "bad beta of an ema: got 1"),
        ({"signal": "g", "ema": math.nan}, "bad beta of an ema: got nan"),
        ({"signal": "g", "lag": 1, "ema": 0.5}, "not a node"),
        ({}, "not a node"),
        (None, "not a node.*got None"),
        ("g", "not a node.*got 'g'"),
        (3.0, "not a node"),
    ],
)
def test_bad_json_is_one_clear_line(data: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        node_from_json(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (_deep(MAX_DEPTH + 1), "nested too deeply"),
        (_deep(5_000), "nested too deeply"),
        (_wide(MAX_NODES + 1), "over 1000 nodes"),
        (Const(math.nan), "bad constant"),
        (Unary("+", G), "takes 2 arguments: got 1"),
        (Binary("log", G, G), "unknown operator"),
        (Var("g"), "not a node"),  # type: ignore[arg-type]
        ("g", "not a node"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_trees_are_refused(tree: Node, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(tree)


def test_a_shared_subtree_cannot_explode() -> None:
    node: Node = G
    for _ in range(80):  # 2^80 nodes as a tree
        node = Binary("+", node, node)
    with pytest.raises(UserError, match="over 1000 nodes"):
        check(node)


def test_apply_checks() -> None:
    assert apply("tanh", (G,)) == Unary("tanh", G)
    assert apply("/", (G, G)) == Binary("/", G, G)
    with pytest.raises(UserError, match="takes 1"):
        apply("tanh", (G, G))
