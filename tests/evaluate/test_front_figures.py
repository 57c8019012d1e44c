"""Figures of a front: what is drawn where, read off the axes before they become SVG."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rayl2o.evaluate import front_figures
from rayl2o.evaluate.drawing import svg
from rayl2o.evaluate.front_data import FrontPoint, NetworkMarks
from rayl2o.evaluate.front_figures import FLOOR, front_loss, front_r2, front_tpf
from rayl2o.evaluate.symbolic_figures import symbolic_figures
from tests.evaluate.examples import mapping, report, trace


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures as they are when they are written."""
    found: list[Figure] = []

    def keep(figure: Figure, name: str) -> str:
        found.append(figure)
        return svg(figure, name)

    monkeypatch.setattr(front_figures, "svg", keep)
    return found


def _xs(line: Line2D) -> list[float]:
    return [float(x) for x in np.asarray(line.get_xdata(), dtype=np.float64)]


def _ys(line: Line2D) -> list[float]:
    return [float(y) for y in np.asarray(line.get_ydata(), dtype=np.float64)]


def _lines(figure: Figure, colour: str) -> list[tuple[list[float], list[float]]]:
    (axes,) = figure.axes
    return [
        (_xs(line), _ys(line))
        for line in axes.lines
        if line.get_color() == colour and line.get_linestyle() == "-" and len(_xs(line)) > 1
    ]


def test_r2_by_rows_against_complexity(drawn: list[Figure]) -> None:
    front_r2(report().front)
    (figure,) = drawn
    by_row = {name: _lines(figure, colour) for name, (_, colour) in front_figures.ROWS.items()}
    assert by_row["r2"] == [([3.0, 7.0, 15.0, 16.0], [0.9, 0.97, 0.98, 0.99])], "members only, by complexity"
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "v"]
    assert [_xs(line) for line in marks if len(_xs(line))] == [[7]]
    assert figure.axes[0].get_ylim()[0] < FLOOR
    words = {text.get_text() for text in figure.axes[0].texts}
    assert {"training", "validation", "test", "stretched", "selected"} == words


def test_what_is_not_known_is_not_drawn(drawn: list[Figure]) -> None:
    old = [FrontPoint(3, 0.9, None, "a"), FrontPoint(5, 0.95, None, "b", chosen=True, r2_test=float("nan"))]
    front_r2(old)
    assert {text.get_text() for text in drawn[0].axes[0].texts} == {"validation", "selected"}
    figures = symbolic_figures(old, NetworkMarks())
    assert [item.title for item in figures.front] == ["R² against the network"]
    assert symbolic_figures([replace(old[0], refused=True)], NetworkMarks()).front == ()
    assert symbolic_figures([], NetworkMarks(), [mapping()], [trace()]).mappings[0][0] == mapping()


def test_losses_with_whiskers_and_what_diverged_apart(drawn: list[Figure]) -> None:
    data = report()
    front_loss(data.front, data.network)
    axes = drawn[0].axes[0]
    whiskers = [line for line in axes.lines if len(_xs(line)) == 2 and len(set(_xs(line))) == 1]
    spans = sorted((_xs(line)[0], *_ys(line)) for line in whiskers)
    assert (3.0, 0.08, 0.1) in spans
    assert (7.0, 0.07, 0.08) in spans
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [_xs(line) for line in crosses] == [[16]]
    assert axes.get_ylim()[1] < 4.0, "a diverged run must not squeeze the others"
    assert axes.get_yscale() == "linear"
    assert "network" in {text.get_text() for text in axes.texts}


def test_losses_that_span_much_are_logarithmic(drawn: list[Figure]) -> None:
    front_loss([FrontPoint(3, 0.5, 2.0, "a"), FrontPoint(5, 0.6, 0.01, "b")], NetworkMarks())
    assert drawn[0].axes[0].get_yscale() == "log"


def test_tpf_by_signal_and_the_network_dashed(drawn: list[Figure]) -> None:
    data = report()
    front_tpf(data.front, data.network)
    axes = drawn[0].axes[0]
    assert {text.get_text() for text in axes.texts} == {"m_tilde", "g_tilde", "network m_tilde", "selected"}
    dashed = [line for line in axes.lines if line.get_linestyle() == "--" and set(_ys(line)) == {4.0}]
    assert len(dashed) == 1


def test_engines_are_told_apart_and_the_selected_one_is_filled(drawn: list[Figure]) -> None:
    data = report()
    front_r2(data.front)
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["", "linear", "rnnprop"]
    points = [line for line in drawn[0].axes[0].lines if len(_xs(line)) == 1]
    marks = {_xs(line)[0]: line.get_marker() for line in points}
    assert len({marks[3.0], marks[7.0], marks[15.0]}) == 3
    filled = {_xs(line)[0] for line in points if line.get_markerfacecolor() != "white" and line.get_marker() != "v"}
    assert filled == {7.0}
    front_r2([replace(point, engine="linear") for point in data.front])
    assert not drawn[1].legends


@pytest.mark.parametrize("values", [(), (0.5,), (0.5, 0.5), (float("nan"), float("-inf")), (-1e300, 0.9)])
def test_odd_fronts_can_be_drawn(values: tuple[float, ...]) -> None:
    points = [
        FrontPoint(3 + i, value, value, "a", losses=(value, value), tpf={"g": 0.0}) for i, value in enumerate(values)
    ]
    for text in (front_r2(points), front_loss(points, NetworkMarks(0.5)), front_tpf(points, NetworkMarks())):
        assert "NaN" not in re.sub(r"<text.*?</text>", "", text)
        ElementTree.fromstring(text)


def test_limits_leave_room() -> None:
    axes = Figure().add_subplot()
    front_figures._limits(axes, [1.0, 3.0, float("nan")])
    assert np.allclose(axes.get_ylim(), (0.84, 3.16))
