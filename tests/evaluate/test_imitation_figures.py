from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from rayl2o.evaluate import imitation_figures, trail_figure
from rayl2o.evaluate.drawing import svg
from rayl2o.evaluate.front_data import Column
from rayl2o.evaluate.imitation_figures import FORMULA, NETWORK, mapping_figure, trace_figure
from tests.evaluate.examples import mapping, trace


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures as they are when they are written."""
    found: list[Figure] = []

    def keep(figure: Figure, name: str) -> str:
        found.append(figure)
        return svg(figure, name)

    monkeypatch.setattr(imitation_figures, "svg", keep)
    monkeypatch.setattr(trail_figure, "svg", keep)
    return found


def test_a_mapping_is_two_lines_with_bands(drawn: list[Figure]) -> None:
    curve = mapping()
    mapping_figure(curve)
    (axes,) = drawn[0].axes
    lines = {line.get_color(): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    assert lines[NETWORK] == list(curve.network.middle)
    assert lines[FORMULA] == list(curve.formula.middle)
    assert len(axes.collections) == 2
    assert axes.get_xlabel() == "g now (of its own)"
    assert axes.get_xlim() == (-3.0, 3.0)


def test_a_trace_is_a_panel_per_window(drawn: list[Figure]) -> None:
    trace_figure(trace())
    first, second = drawn[0].axes
    assert first.get_ylim()[1] > 0.3 > 0.12 > second.get_ylim()[1]
    steps = [np.asarray(line.get_xdata()).tolist() for line in second.lines if line.get_color() == FORMULA]
    assert steps == [[97, 98, 99]]
    trace_figure(replace(trace(), windows=()))
    assert drawn[1].axes == []


def test_where_rules_lead(drawn: list[Figure]) -> None:
    trail = tuple((float(s), 0.5 / s, 1.0 / s, 2.0 / s) for s in (1, 10, 100))
    columns = [Column("network", 1.0, trail=trail), Column("distilled", 1.0), Column("gained", 1.0, trail=trail)]
    assert trail_figure.trail_figure(columns) is not None
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.texts] == ["network", "gained"]
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [1.0, 0.1, 0.01]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert trail_figure.trail_figure([Column("network", 1.0)]) is None
    assert trail_figure.trail_figure([Column("network", 1.0, trail=((1.0, 0.1, float("nan"), 0.3),))]) is not None


def test_hostile_names_are_text() -> None:
    hostile = r"<b>$\frac{x$"
    for text in (mapping_figure(replace(mapping(hostile), unit=hostile)), trace_figure(trace(hostile))):
        assert "<b>" not in text
        ElementTree.fromstring(text)
