from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.cli.rule_argument import kind_of, load
from rayl2o.errors import UserError


def test_a_run_its_rule_file_a_formula_and_a_classic_rule(run: Path, distilled: Path) -> None:
    from_run, from_file = load(str(run)), load(str(run / "rule.json"))
    assert from_run.rule == from_file.rule
    assert from_run.phi.keys() == from_file.phi.keys()
    assert kind_of(from_run) == "learned"
    assert kind_of(load(str(distilled / "tuned.json"))) == "formula"
    classic = load("adam:lr=0.01")
    assert (kind_of(classic), classic.phi) == ("classic", {})


@pytest.mark.parametrize(
    ("text", "says"),
    [("gone.json", "gone.json"), ("gone/run", "no such rule"), ("adan:lr=0.1", "adam"), ("", "rule")],
)
def test_what_is_no_rule(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load(text)


def test_a_folder_without_run_or_rule(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a run nor a rule"):
        load(str(tmp_path))
