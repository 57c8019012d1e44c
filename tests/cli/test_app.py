from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.cli import app
from tests.cli.command import rayl2o


@pytest.mark.parametrize("name", [name for _, name, _ in app._VERBS])
def test_every_verb_has_help_and_json(name: str) -> None:
    said = rayl2o(name, "--help")
    assert said.code == 0
    assert "--json" in said.out


def test_the_reference_names_every_verb() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    documented = [line.removeprefix("### ").split()[0] for line in text.splitlines() if line.startswith("### ")]
    assert sorted(documented) == sorted(name for _, name, _ in app._VERBS)
