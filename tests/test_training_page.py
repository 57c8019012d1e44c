"""The page of training techniques shows the committed results of studies, and these are of the shipped definitions."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from rayl2o.study.definition import load, parse
from rayl2o.study.job import jobs
from tests.page_scripts import page_script
from tests.study.examples import example

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    return page_script("write_training_page")


def test_the_page_is_up_to_date(writer: ModuleType) -> None:
    # Without a committed result there may be no page yet.
    assert not writer.documents() or writer.PAGE.read_text() == writer.page(), (
        "run: python scripts/write_training_page.py"
    )


def test_committed_results_are_of_the_shipped_definitions_and_have_their_figure(writer: ModuleType) -> None:
    for name, document in writer.documents().items():
        again = f"rayl2o study {name} has not been run since its definition was changed"
        assert parse(document["definition"]) == load(name), again
        assert {job["job"]: job["sha256"] for job in document["jobs"]} == {
            job.name: job.sha256 for job in jobs(load(name))
        }, again
        assert (writer.IMAGES / f"study-{name}.png").is_file()


def test_results_and_figures_are_found_by_name(
    writer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study-toy.json").write_text(json.dumps(example()))
    (tmp_path / "tasks.json").write_text("{}")
    (tmp_path / "page.md").write_text("<!-- study:toy -->\n<!-- /study:toy -->\n")
    found = writer.documents(tmp_path)
    assert list(found) == ["toy"]
    monkeypatch.setattr(writer, "documents", lambda: found)
    monkeypatch.setattr(writer, "PAGE", tmp_path / "page.md")
    assert "| dm / exact | 1.8 |" in writer.page()
    writer.write_figures(tmp_path)
    assert (tmp_path / "study-toy.png").is_file()
