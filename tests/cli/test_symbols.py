from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.command import rayl2o, refused
from tests.cli.fronts import document


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with a distillation made by hand."""
    (tmp_path / "front.json").write_text(json.dumps(document()))
    return tmp_path


def test_the_front_as_json(distilled: Path) -> None:
    data = rayl2o("symbols", distilled, "--json").json
    rows = data["front"]
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert [row["complexity"] for row in rows] == sorted(row["complexity"] for row in rows)
    assert sum(row["selected"] for row in rows) == 1
    assert isinstance(data["refused"], list)
    assert all(row["tpf"] and row["r2_stretched"] is not None for row in rows)


def test_people_see_the_selected_one_marked(distilled: Path) -> None:
    said = rayl2o("symbols", distilled)
    assert said.code == 0
    selected = next(row["index"] for row in rayl2o("symbols", distilled, "--json").json["front"] if row["selected"])
    assert f">{selected}" in said.out


def test_order_engine_and_refused(made: Path) -> None:
    def indices(*args: str) -> list[int]:
        return [row["index"] for row in rayl2o("symbols", made, *args, "--json").json["front"]]

    assert indices("--sort", "loss") == [1, 0, 3, 2]
    assert indices("--sort", "r2", "--engine", "evolved") == [3, 2]
    data = rayl2o("symbols", made, "--json").json
    assert [row["index"] for row in data["refused"]] == [4]
    assert data["refused"][0]["reasons"][0]["name"] == "ascent"
    assert "is ascended" not in rayl2o("symbols", made).out
    assert "is ascended" in rayl2o("symbols", made, "--refused").out


def test_one_candidate_can_be_picked_and_saved(made: Path) -> None:
    path = made / "mine.json"
    data = rayl2o("symbols", made, "--pick", "0", "--out", path, "--json").json
    assert data["path"] == str(path)
    saved = json.loads(path.read_text())
    assert saved["formula"] == data["formula"]
    assert saved["card"]["distilled_from"] == "runs/net"
    shown = rayl2o("symbols", made, "--pick", "0").out
    for words in ("by run: 0.2", "LaTeX", "def update"):
        assert words in shown


def test_a_refused_one_is_saved_with_its_reasons(made: Path) -> None:
    path = made / "bad.json"
    assert rayl2o("symbols", made, "--pick", "4", "--out", path, "--json").json["refused"]
    assert json.loads(path.read_text())["card"]["known_failures"] == ["a constant gradient is ascended"]


def test_the_page_of_figures(made: Path, distilled: Path) -> None:
    page = made / "page.html"
    assert rayl2o("symbols", made, "--report", page, "--json").json["report"] == str(page)
    assert "The update as a function of one input" in page.read_text()
    written = (distilled / "report.html").read_text()
    assert "Where they lead" in written
    assert "What is missing" not in written


def test_an_older_distillation_is_read(tmp_path: Path) -> None:
    (tmp_path / "front.json").write_text(json.dumps(document(old=True)))
    rows = rayl2o("symbols", tmp_path, "--json").json["front"]
    assert [row["r2"] for row in rows] == [0.7, 0.8, 0.9, 0.95]
    assert "validation rows" in rayl2o("symbols", tmp_path).out
    assert rayl2o("symbols", tmp_path, "--pick", "1").code == 0


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--pick", "99"), "no such candidate"),
        (("--pick", "-1"), "no such candidate"),
        (("--out", "x.json"), "--pick"),
        (("--sort", "size"), "unknown order"),
        (("--engine", "pysr"), "known: evolved, linear"),
        (("--browse",), "needs a terminal"),
    ],
)
def test_what_cannot_be_asked(args: tuple[str, ...], says: str, made: Path) -> None:
    refused(rayl2o("symbols", made, *args, "--json"), says)


def test_browsing_needs_a_terminal(made: Path) -> None:
    refused(rayl2o("symbols", made, "--browse"), "needs a terminal")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"front": 1}', '{"front": NaN}', "[" * 100_000])
def test_a_front_that_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "front.json").write_text(content)
    refused(rayl2o("symbols", tmp_path, "--json"))


def test_another_schema_version(distilled: Path, tmp_path: Path) -> None:
    data = json.loads((distilled / "front.json").read_text())
    data["front"]["schema_version"] = 7
    (tmp_path / "front.json").write_text(json.dumps(data))
    refused(rayl2o("symbols", tmp_path, "--json"), "schema version", "7")
