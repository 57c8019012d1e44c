from __future__ import annotations

import pytest

from rayl2o.cli.distillation_page import distillation_page
from rayl2o.cli.front_document import FrontDocument, front_document
from rayl2o.errors import UserError
from rayl2o.evaluate.distillation_report import render_distillation
from tests.cli.fronts import document, front


def test_what_chose_nothing_is_quoted() -> None:
    page = distillation_page(front_document(document()), "rayl2o symbols here")
    assert page.title == "Distillation of runs/net"
    assert "the network 0.3, the selected formula as distilled 0.2" in page.summary
    assert "chose nothing" in page.summary
    assert page.missing == ()
    assert [point.chosen for point in page.front] == [False, True, False, False, False]
    assert page.front[-1].refused
    assert page.front[-1].note == "a constant gradient is ascended"
    assert page.settings["seconds: fit"] == "1.25"
    assert "rayl2o symbols here" in render_distillation(page)


def test_an_older_file_says_what_it_lacks() -> None:
    page = distillation_page(front_document(document(old=True)), "")
    assert "so it is favoured" in page.summary
    assert page.title == "Distillation of a learned rule"
    assert len(page.missing) == 7
    text = render_distillation(page)
    assert "has not recorded mapping curves" in text
    assert "The update as a function" not in text


def test_a_bare_front_has_no_page() -> None:
    with pytest.raises(UserError, match="selected formula"):
        distillation_page(FrontDocument(front()), "")
