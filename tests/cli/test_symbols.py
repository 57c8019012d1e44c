from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import rayl2o, refused


def test_the_front_as_json(distilled: Path) -> None:
    data = rayl2o("symbols", distilled, "--json").json
    rows = data["front"]
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert [row["complexity"] for row in rows] == sorted(row["complexity"] for row in rows)
    assert sum(row["selected"] for row in rows) == 1
    assert isinstance(data["refused"], list)


def test_people_see_the_selected_one_marked(distilled: Path) -> None:
    said = rayl2o("symbols", distilled)
    assert said.code == 0
    selected = next(row["index"] for row in rayl2o("symbols", distilled, "--json").json["front"] if row["selected"])
    assert f">{selected}" in said.out


def test_one_candidate_can_be_picked_and_saved(distilled: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    data = rayl2o("symbols", distilled, "--pick", "0", "--out", path, "--json").json
    assert data["path"] == str(path)
    saved = json.loads(path.read_text())
    assert saved["formula"] == data["formula"]
    assert rayl2o("symbols", distilled, "--pick", "0").out.count("\n") >= 2


@pytest.mark.parametrize(("args", "says"), [(("--pick", "99"), "no such candidate"), (("--out", "x.json"), "--pick")])
def test_what_cannot_be_picked(args: tuple[str, ...], says: str, distilled: Path) -> None:
    refused(rayl2o("symbols", distilled, *args, "--json"), says)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"front": 1}', '{"front": NaN}', "[" * 100_000])
def test_a_front_that_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "front.json").write_text(content)
    refused(rayl2o("symbols", tmp_path, "--json"))


def test_another_schema_version(distilled: Path, tmp_path: Path) -> None:
    data = json.loads((distilled / "front.json").read_text())
    data["front"]["schema_version"] = 7
    (tmp_path / "front.json").write_text(json.dumps(data))
    refused(rayl2o("symbols", tmp_path, "--json"), "schema version", "7")
