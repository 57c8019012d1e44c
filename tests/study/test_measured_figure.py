from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayl2o.study.measured import measured
from rayl2o.study.measured_figure import best_by_size, formulas_figure, save_measured_figure
from tests.study.examples import distilling_example, example


def test_the_best_of_a_size_is_that_of_the_largest_formula_within_it() -> None:
    front: list[dict[str, Any]] = [
        {"nodes": 2, "r2_test": 0.5},
        {"nodes": 4, "r2_test": 0.4},
        {"nodes": 5, "r2_test": None},
    ]
    np.testing.assert_equal(best_by_size(front, range(1, 7)), [np.nan, 0.5, 0.5, 0.4, np.nan, np.nan])


def test_a_line_per_arm_is_the_mean_over_meta_seeds() -> None:
    (dm,) = (one for one in measured(distilling_example()) if one.seeds)
    (axes,) = formulas_figure([dm], ["ema"]).get_axes()
    (line,) = axes.get_lines()
    assert line.get_label() == "dm-first"
    sizes, values = (np.asarray(data, dtype=np.float64) for data in line.get_data())
    assert sizes.tolist() == list(range(3, 10))
    assert values.tolist() == pytest.approx([0.83] * 6 + [0.93])


def test_it_is_written_where_something_was_distilled(tmp_path: Path) -> None:
    (file,) = save_measured_figure(distilling_example(), tmp_path, "mine")
    assert file.name == "mine-formulas.png"
    assert file.read_bytes().startswith(b"\x89PNG")
    assert save_measured_figure(example(), tmp_path, "other") == []
