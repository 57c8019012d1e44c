from __future__ import annotations

import pytest

from rayl2o.errors import UserError
from rayl2o.study.page import section, with_studies
from tests.study.examples import distilling_example, example

PAGE = "# Title\n\nBefore.\n\n<!-- study:toy -->\nold\n<!-- /study:toy -->\n\nAfter \\1.\n"


def test_only_what_stands_between_the_markers_is_written() -> None:
    page = with_studies(PAGE, {"toy": example()})
    assert page.startswith("# Title\n\nBefore.\n\n<!-- study:toy -->\nToy?\n")
    assert page.endswith("<!-- /study:toy -->\n\nAfter \\1.\n")
    assert "old" not in page
    assert "| dm / exact | 1.8 |" in page
    assert "(images/study-toy.png)" in page
    assert "(images/study-toy-cosine.png)" in page
    assert "3 meta-seeds" in page
    assert with_studies(page, {"toy": example()}) == page


@pytest.mark.parametrize("page", ["", PAGE + PAGE, "<!-- /study:toy --><!-- study:toy -->"])
def test_a_page_without_one_place_for_a_study_is_refused(page: str) -> None:
    with pytest.raises(UserError, match="no place for a study"):
        with_studies(page, {"toy": example()})


def test_failed_jobs_are_named() -> None:
    data = example() | {"failed": ["dm-first-2"]}
    assert "Failed: dm-first-2." in section("toy", data)


def test_what_was_distilled_has_tables_figure_and_columns_from_elsewhere() -> None:
    beside = {"toy": {"tpf": {"S": {"dm-first": "25.2"}}}}
    page = with_studies(PAGE, {"toy": distilling_example()}, beside=beside)
    assert "(images/study-toy-formulas.png)" in page
    assert "| dm-first | g | 0.5 | 5.0 (4.0 to 6.0) | 25.2 |" in page
    assert "Nodes: every constant" in page
    assert "Failed: dm-first-2." in page
    assert "-formulas.png" not in with_studies(PAGE, {"toy": example()})
