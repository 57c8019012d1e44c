from __future__ import annotations

from pathlib import Path

import pytest

from rayl2o.evaluate.distillation_report import DistillationData, render_distillation, write_distillation
from rayl2o.evaluate.front_data import Column
from tests.evaluate.examples import report
from tests.evaluate.test_report import HOSTILE, Page


def _data(label: str = "rnnprop") -> DistillationData:
    full = report(label)
    assert full.formula is not None
    trail = ((1.0, 1.0, 2.0, 3.0), (10.0, 0.1, 0.2, 0.3))
    return DistillationData(
        title=f"Distillation of {label}",
        summary="What was found.",
        formula=full.formula,
        columns=(
            Column("network", 0.2, (0.1, 0.3), held_out=0.25, held_out_runs=(0.2, 0.3), trail=trail),
            Column(label, 0.3, r2=0.9, buffers=2),
        ),
        front=full.front,
        network=full.network,
        mappings=full.mappings,
        traces=full.traces,
        insights=full.insights,
        settings={label: label},
        missing=(label,),
        command=label,
        created="2026-01-05",
    )


@pytest.mark.parametrize("label", ["rnnprop", HOSTILE])
def test_the_page_is_well_formed_and_loads_nothing(label: str) -> None:
    page = Page(render_distillation(_data(label)))
    assert not {"script", "link", "iframe", "object", "embed", "img"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert value.startswith("#")
    assert page.tags.count("svg") == 1 + 1 + 3 + 1 + 1


def test_every_part_is_on_the_page() -> None:
    page = Page(render_distillation(_data())).text
    for words in (
        "Distillation of rnnprop", "What was found.", "-0.01*m_tilde", "0.250", "0.200 to 0.300", "Where they lead",
        "Pareto front", "R² against the network", "Mean loss in closed loop", "TPF", "All 5 formulas", "diverged",
        "The update as a function of one input", "Held: the rest of rnnprop", "Updates along the same gradients", "100 steps",
        "What it looks at", "Settings", "What is missing", "2026-01-05",
    ):  # fmt: skip
        assert words in page, words


def test_a_bare_page() -> None:
    full = _data()
    page = Page(render_distillation(DistillationData("t", "s", full.formula, (Column("network", 0.2),), ())))
    assert page.tags.count("h2") == 1


def test_written_to_a_file(tmp_path: Path) -> None:
    write_distillation(tmp_path / "new" / "page.html", _data())
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == render_distillation(_data())
