from __future__ import annotations

import pytest

from rayl2o.cli.listing import KINDS
from tests.cli.command import rayl2o, refused

NAMES = {
    "tasks": {"quadratic", "mlp", "mlp-orig", "mlp-relu", "mlp-deeper"},
    "rules": {"sgd", "adam", "rmsprop", "adagrad", "dm", "rnnprop"},
    "presets": {"quickstart"},
    "suites": {"mlp-transfer"},
    "studies": {"which-gradient", "dm-alive"},
    "engines": {"evolved", "linear", "operon", "pysr", "template"},
}
COMPOSED = {"mixture", "augmented", "random-mlp"}
"""Made of other tasks, or draw their sizes."""


@pytest.mark.parametrize("what", KINDS)
def test_the_contract_of_list(what: str) -> None:
    items = rayl2o("list", what, "--json").json["items"]
    assert NAMES[what] <= {item["name"] for item in items}
    assert all(isinstance(item["source"], str) and item["source"] for item in items)
    names = [item["name"] for item in items]
    assert len(set(names)) == len(names)


def test_tasks_say_how_many_parameters_they_have() -> None:
    params = {item["name"]: item["params"] for item in rayl2o("list", "tasks", "--json").json["items"]}
    assert params["mlp-orig"] == 784 * 20 + 20 + 20 * 10 + 10
    assert all(isinstance(value, int) for name, value in params.items() if name not in COMPOSED)


@pytest.mark.parametrize("what", KINDS)
def test_people_see_every_name(what: str) -> None:
    said = rayl2o("list", what)
    assert said.code == 0
    assert all(name in said.out for name in NAMES[what])


def test_an_unknown_list() -> None:
    refused(rayl2o("list", "task"), "did you mean 'tasks'")


def test_brackets_are_not_taken_for_markup() -> None:
    assert "([paper]: three)" in " ".join(rayl2o("list", "presets").out.replace("│", " ").split())
