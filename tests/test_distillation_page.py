"""The page on what was learned shows the committed result of its study, and that is of the shipped definition."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rayl2o.study.definition import load, parse
from rayl2o.study.job import jobs
from rayl2o.symbolic.perception import momentum_tpf
from tests.page_scripts import page_script
from tests.study.examples import distilling_example

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    return page_script("write_distillation_page")


@pytest.fixture
def committed(writer: ModuleType) -> dict[str, Any]:
    found = writer.document()
    assert found is not None
    return dict(found)


def test_the_page_is_up_to_date(writer: ModuleType, committed: dict[str, Any]) -> None:
    assert writer.PAGE.read_text(encoding="utf-8") == writer.page(committed), (
        "run: python scripts/write_distillation_page.py"
    )


def test_the_committed_result_is_of_the_shipped_definition_and_has_its_figures(
    writer: ModuleType, committed: dict[str, Any]
) -> None:
    study = load(writer.NAME)
    assert parse(committed["definition"]) == study
    assert {job["job"]: job["sha256"] for job in committed["jobs"]} == {job.name: job.sha256 for job in jobs(study)}
    assert not committed["failed"]
    for figure in ("study-distillation.png", "study-distillation-formulas.png"):
        assert (writer.IMAGES / figure).is_file()


def test_what_the_paper_says_stands_beside_what_follows_from_the_formula(writer: ModuleType) -> None:
    data = distilling_example()
    for job, rule in zip(data["jobs"], ("momentum:lr=0.1,momentum=0.9", "adam"), strict=False):
        job |= {"kind": "known", "rule": rule}
    found = writer.beside(data)
    momentum = f"{momentum_tpf(0.9, 5):.2f}; 9 without end"  # the example's horizon
    assert found["tpf"]["closed form"] == {"momentum:lr=0.1,momentum=0.9": momentum, "adam": "0 at m~"}
    assert found["tpf"]["S"]["momentum:lr=0.1,momentum=0.9"] == "10"
    assert found["tpf"]["S"]["dm"] == "25.2"
    assert found["mc"]["S"]["momentum:lr=0.1,momentum=0.9"] == "≈ 29 inputs"
