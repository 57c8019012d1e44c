"""The page: self-contained, well formed, escaped, atomic, and honest in what it says."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from rayl2o.errors import UserError
from rayl2o.evaluate.comparison import compare
from rayl2o.evaluate.report import decimals, fixed, headline, number, render, write
from rayl2o.evaluate.runner import Run
from tests.evaluate.examples import make_run, report

HOSTILE = '<img src=http://evil.example/x onerror="alert(1)"> & {{ 7 * 7 }} </script> $\\frac{a$'
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags nest, and collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else, line {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("label", ["rnnprop", HOSTILE])
def test_the_page_is_well_formed_and_loads_nothing(label: str) -> None:
    text = render(report(label))
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed", "img"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster"):
            assert value.startswith("#"), f"{name}={value}"
    style = "".join(re.findall(r"<style>.*?</style>", text, flags=re.DOTALL))
    assert "@import" not in style
    assert not re.search(r"url\((?!#)", text)


def test_hostile_labels_are_shown_as_they_are() -> None:
    page = Page(render(report(HOSTILE)))
    assert "{{ 7 * 7 }}" in page.text
    assert 'onerror="alert(1)"' in page.text


def test_every_part_is_on_the_page() -> None:
    data = report()
    page = Page(render(data)).text
    for words in (
        data.title, data.summary, "Learning curves", "Results", "The formula", "-0.01*m_tilde", "From network to formula",
        "Pareto front", "All 5 formulas", "refused", "The update as a function of one input", "Updates along the same gradients",
        "R² 0.750", "Temporal perception field", "m 5.3", "How the baselines were tuned", "adam:lr=0.01",
        "Throughput and compute", "412", "Settings", "Seeds", "Versions", "Known limits", "One meta-training seed.",
        data.command, data.created, "95 %", "10,000 resamples", "1 of 6 diverged", "trained on", "not trained on",
    ):  # fmt: skip
        assert words in page, words
    for row in data.rows:
        assert fixed(row.mean_loss, decimals([r for r in data.rows if r.task == row.task])) in page


def test_empty_parts_are_left_out() -> None:
    data = report()
    bare = replace(
        data, panels=(), formula=None, stages=(), front=(), insights=(), baselines=(), numbers=(), settings={}, seeds={},
        versions={}, limits=(), command="", created="", mappings=(), traces=(),
    )  # fmt: skip
    page = Page(render(bare))
    assert page.tags.count("h2") == 1
    assert "Results" in page.text
    with pytest.raises(ValueError, match="at least one row"):
        render(replace(data, rows=()))


def test_a_formula_that_cannot_be_typeset_is_there_as_text() -> None:
    data = report()
    assert data.formula is not None
    page = Page(render(replace(data, formula=replace(data.formula, latex=r"\nonsense{"))))
    assert "-0.01*m_tilde" in page.text


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "new" / "report.html"
    write(target, report())
    first = target.read_text(encoding="utf-8")
    assert first == render(report())
    with pytest.raises(ValueError, match="at least one row"):
        write(target, replace(report(), rows=()))

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(UserError, match="disk full"):
        write(target, report("other"))
    assert target.read_text(encoding="utf-8") == first
    assert [p.name for p in target.parent.iterdir()] == ["report.html"]


def _duel(own: float, rival: float, shape: float = 0.0) -> list[Run]:
    """Two contenders; ``shape`` makes their difference change its sign from seed to seed."""
    network, adam = make_run("net", "learned", own), make_run("adam:lr=0.1", "classic", rival)
    tilt = 1 + shape * np.array([1, -1, 1, -1, 1, -1.0])[:, None]
    return [network, replace(adam, curves=replace(adam.curves, loss=adam.curves.loss * tilt))]


@pytest.mark.parametrize(
    ("runs", "outcome", "words"),
    [
        (
            _duel(0.08, 0.1),
            "ahead",
            ("The loss of net is 20% below that of adam", "best tuned classic rule", "clear of zero"),
        ),
        (_duel(0.1, 0.08), "behind", ("The loss of adam is 20% below that of net", "clear of zero")),
        (_duel(0.1, 0.1, 0.3), "level", ("No winner between net and adam", "which includes zero")),
        ([make_run("net", "learned", 0.1)], "alone", ("net: mean loss 0.100", "over 6 seeds")),
    ],
)
def test_headlines_say_what_the_interval_allows(runs: list[Run], outcome: str, words: tuple[str, ...]) -> None:
    found = headline(compare(runs, "net", []), "net")
    assert found.outcome == outcome
    for part in words:
        assert part in found.sentence


def test_headlines_report_the_formulas_place() -> None:
    runs = [*_duel(0.08, 0.1), make_run("formula", "formula", 0.12)]
    assert headline(compare(runs, "net", []), "net").places == "formula: place 3 of 3"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.07123, "0.0712"),
        (412.0, "412"),
        (12345.6, "12,346"),
        (1.0, "1.00"),
        (-0.5, "−0.500"),
        (1e-7, "1.00e−07"),
        (None, "–"),
        (0.0, "0"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_one_precision_for_a_task() -> None:
    rows = compare(_duel(0.08, 123.0), "net", [])
    assert decimals(rows) == 4
    assert fixed(rows[1].mean_loss, 4).startswith("123.0")
