from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from rayl2o.cli.front_document import FrontDocument, front_document, listed
from rayl2o.cli.front_table import WIDE, FrontTable, cells, columns_table, front_table, legend, loss, short, spread
from tests.cli.fronts import candidate, document, front


def _text(*items: RenderableType, width: int = 160) -> str:
    file = io.StringIO()
    for item in items:
        Console(file=file, width=width).print(item)
    return file.getvalue()


def test_every_candidate_has_a_line_and_the_chosen_one_a_mark() -> None:
    text = _text(front_table(front(), front().candidates[0]))
    assert ">0" in text
    assert all(f"\n {i} " in text for i in range(1, 4))
    assert ">" not in _text(front_table(front(), None))


@pytest.mark.parametrize("width", [80, WIDE - 1, WIDE, 200])
def test_nothing_is_cut_at_any_width(width: int) -> None:
    text = _text(FrontTable(listed(front_document(document()), refused=True), "front"), width=width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    for words in ("0.85", "<-9", "0.1250±0.0354", "6.0 1.5", "diverged", "evolved", "is ascended", "tanh(g)"):
        assert words in text.replace("\n", ""), words
    beside = any("0.71" in line and "g̃" in line for line in text.splitlines())
    assert beside == (width >= WIDE)


def test_what_a_line_says() -> None:
    small, _, lost, large = front().candidates
    assert cells(small, ["g_tilde", "m_tilde"]) == (
        "3", "1", "0.710", "0.70/0.60", "0.60", "0.2500±0.0500", "0.0 -", "yes", "linear",
    )  # fmt: skip
    assert (loss(lost), loss(large)) == ("diverged", "-")
    assert (cells(lost, [])[-2], cells(large, [])[-2]) == ("no", "yes")


def test_spread_is_the_standard_deviation_over_runs() -> None:
    assert spread(0.25, (0.2, 0.3)) == "0.2500±0.0707"
    assert spread(12345.0, (12000.0, 12690.0)) == "12,345±488"
    assert spread(0.25, (0.25,)) == "0.25"
    assert spread(0.25, (0.25, float("nan"))) == "0.25"
    assert spread(1e-9, (1e-9, 3e-9)) == "1.00e-09±1.4e-09"


def test_short_scores() -> None:
    assert [short(value) for value in (None, float("nan"), -9.01, float("-inf"), 0.456)] == [
        "-",
        "-",
        "<-9",
        "<-9",
        "0.46",
    ]


def test_the_legend_explains_what_is_there() -> None:
    new, old = legend(front().candidates[:2]), legend([candidate("-g", 0.5)])
    assert "test rows" in new
    assert "x3" in new
    assert "sd over 3 runs" in new
    assert "g_tilde, m_tilde" in new
    assert "validation rows" in old
    assert "TPF" not in old


def test_markup_and_control_characters_of_a_file_stay_text() -> None:
    from dataclasses import replace

    from rayl2o.symbolic.front import Front

    odd = replace(candidate("-g", 0.5), engine="[bold]\x1b[31mred")
    text = _text(FrontTable(FrontDocument(Front((odd,))).entries, "front"), width=200)
    assert "[bold]" in text
    assert "\x1b" not in text


def test_an_empty_list() -> None:
    assert "none" in _text(FrontTable([], "front"))


def test_columns_that_were_turned_off_are_left_out() -> None:
    text = _text(columns_table(document()), width=80)
    assert "gained" in text
    assert "tuned" not in text
    assert "0, 1" in text
    assert "fresh runs" in text
    assert "fresh" not in _text(columns_table(document(old=True)))
