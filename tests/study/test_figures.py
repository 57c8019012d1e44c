from __future__ import annotations

from pathlib import Path

import numpy as np

from rayl2o.study.figures import cosine_figure, save_figures, study_figure
from rayl2o.study.results import rows
from rayl2o.study.tables import blocks
from tests.study.examples import DM, document, example, trained


def test_every_arm_has_its_points_and_its_mean_in_every_panel() -> None:
    data = example()
    summary = rows(data)
    figure = study_figure(blocks(data, summary), "credit")
    assert len(figure.axes) == 2
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["dm / first", "dm / exact", "adam"]
    for axes, members in zip(figure.axes, (summary[:3], summary[3:]), strict=True):
        assert axes.get_xscale() == "log"
        lines = axes.get_lines()
        for y, row in enumerate(members):
            points, bar = lines[2 * y], lines[2 * y + 1]
            np.testing.assert_allclose(np.asarray(points.get_xdata(), dtype=float), row.points)
            assert set(np.asarray(points.get_ydata(), dtype=float)) == {float(y)}
            np.testing.assert_allclose(np.asarray(bar.get_xdata(), dtype=float), [row.mean] * 2)
    colours = [line.get_color() for line in figure.axes[0].get_lines()[::2]]
    assert len(set(colours)) == 3


def test_arms_that_differ_in_one_axis_are_joined_from_their_cosine_to_exact() -> None:
    data = example()
    figure = cosine_figure(blocks(data, rows(data)), "credit")
    assert figure is not None
    for axes in figure.axes:
        (line,) = axes.get_lines()
        assert line.get_label() == "dm"
        np.testing.assert_allclose(np.asarray(line.get_xdata(), dtype=float), [0.25, 1.0])
        np.testing.assert_allclose(np.asarray(line.get_ydata(), dtype=float), [2.5, 1.8])


def test_figures_are_written_where_there_is_something_to_show(tmp_path: Path) -> None:
    paths = save_figures(example(), tmp_path, "x")
    assert [path.name for path in paths] == ["x.png", "x-cosine.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    plain = document([trained(DM, 0, [1.0])])
    assert [path.name for path in save_figures(plain, tmp_path, "y")] == ["y.png"]
    assert save_figures(document([]), tmp_path, "z") == []
