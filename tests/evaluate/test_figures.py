"""Figures: numbers behind them, well-formed SVG that can stand beside others, formulas that cannot be drawn."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib
import numpy as np

from rayl2o.evaluate.figures import (
    break_lines,
    learning_curves,
    shorten,
    styles,
    typeset,
)
from rayl2o.evaluate.front_figures import front_loss, front_r2, front_tpf
from rayl2o.evaluate.imitation_figures import mapping_figure, trace_figure
from rayl2o.evaluate.report_data import Curve, Panel
from tests.evaluate.examples import report

HOSTILE = r'<script>alert("1")</script> & $\frac{x$ %'


def _panel(label: str = "adam:lr=0.1", steps: int = 300) -> Panel:
    rng = np.random.default_rng(0)
    loss = np.exp(rng.normal(0, 0.3, (7, steps)) - np.linspace(0, 4, steps))
    return Panel("t", "", True, (Curve("net", "learned", loss), Curve(label, "classic", 2 * loss)))


def test_figures_are_xml_and_share_no_id_and_load_nothing() -> None:
    data = report()
    look = styles({curve.label: curve.kind for curve in data.panels[0].curves})
    drawn = [learning_curves(panel, look) for panel in data.panels]
    formula = typeset(r"-0.1 \, \tilde{m}_{t} + \frac{g}{2}")
    assert formula is not None
    drawn += [front_r2(data.front), front_loss(data.front, data.network), front_tpf(data.front, data.network), formula]
    drawn += [mapping_figure(data.mappings[0]), trace_figure(data.traces[0])]
    seen: set[str] = set()
    for svg in drawn:
        root = ElementTree.fromstring(svg)
        ids = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
        assert not ids & seen
        seen |= ids
        for element in root.iter():
            for name, value in element.attrib.items():
                if name.endswith("href"):
                    assert value.removeprefix("#") in ids
                for target in re.findall(r"url\(#([^)]*)\)", value):
                    assert target in ids
        assert "<style" not in svg
        assert "<metadata" not in svg


def test_figures_are_the_same_every_time_and_leave_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    look = styles({"net": "learned", "adam:lr=0.1": "classic"})
    assert learning_curves(_panel(), look) == learning_curves(_panel(), look)
    assert dict(matplotlib.rcParams) == before


def test_labels_are_text_never_markup_nor_math() -> None:
    panel = _panel(HOSTILE)
    svg = learning_curves(panel, styles({"net": "learned", HOSTILE: "classic"}))
    words = " ".join(ElementTree.fromstring(svg).itertext())
    assert "<script" not in svg
    assert "<script>alert" in words


def test_solved_and_one_step_tasks_can_be_drawn() -> None:
    look = styles({"net": "learned", "adam:lr=0.1": "classic"})
    zero = replace(_panel(), curves=(Curve("net", "learned", np.zeros((2, 50))),))
    for panel in (zero, _panel(steps=2)):
        ElementTree.fromstring(learning_curves(panel, look))


def test_labels_beside_curves_are_short() -> None:
    assert shorten("adam:lr=0.01,beta1=0.9") == "adam"
    assert shorten("x" * 40) == "x" * 21 + "…"


def test_every_contender_looks_different() -> None:
    kinds = {
        "n": "learned",
        "f1": "formula",
        "f2": "formula",
        "f3": "formula",
        "a": "classic",
        "b": "classic",
        "c": "classic",
    }
    look = styles(kinds)
    assert len({(s.colour, s.dash) for s in look.values()}) == len(kinds)
    assert list(look) == list(kinds)


def test_long_sums_break_between_terms_only() -> None:
    term = r"0.123 \, \mathrm{ema}_{0.9}\left(\tilde{m} - x\right)"
    formula = " + ".join([term] * 5) + r" - \frac{a + b}{c}"
    lines = break_lines(formula, 40)
    assert len(lines) > 2
    assert "".join("".join(lines).split()) == "".join(formula.split())
    for line in lines:
        assert line.count("{") == line.count("}")
        assert line.count("(") == line.count(")")
    assert break_lines("a + b", 40) == ["a + b"]
    assert break_lines(r"-1.2 \cdot 10^{-4} \, g", 40) == [r"-1.2 \cdot 10^{-4} \, g"]


def test_a_formula_that_cannot_be_drawn_is_none() -> None:
    assert typeset(r"\begin{matrix} a \end{matrix}") is None
    assert typeset(r"\frac{a") is None
