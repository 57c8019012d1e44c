"""Labels that keep their distance."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from rayl2o.evaluate.drawing import End, apart, end_labels


@pytest.mark.parametrize(
    "wanted", [[0.5, 0.5, 0.5], [0.0, 0.01, 0.9], [0.1, 0.4, 0.8], [0.98, 0.99, 1.0], [0.02, 0.02, 0.02, 0.02]]
)
def test_apart_keeps_order_and_distance(wanted: list[float]) -> None:
    placed = apart(np.array(wanted), 0.06)
    assert (np.diff(placed) >= 0.06 - 1e-12).all()
    assert placed[0] >= 0
    assert np.abs(placed - wanted).max() <= 0.06 * len(wanted)
    if min(np.diff(wanted)) >= 0.06:
        assert placed.tolist() == wanted


def test_labels_stand_where_their_lines_end_or_at_the_edge() -> None:
    axes = Figure().add_subplot()
    end_labels(axes, [End("high", 7.0, "#000000"), End("low", -3.0, "#111111", bold=True), End("in", 0.5, "#222222")])
    placed = {text.get_text(): text.xyann[1] for text in axes.texts if isinstance(text, Annotation)}
    assert list(placed) == ["low", "in", "high"]
    assert placed == pytest.approx({"low": 0.0, "in": 0.5, "high": 1.0})
    end_labels(axes, [])
    assert len(axes.texts) == 3
