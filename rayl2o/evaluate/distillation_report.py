"""The page of one distillation from plain data: formula, front, network beside formula. Self-contained, as the report is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from rayl2o.checkpoint import replace_file
from rayl2o.evaluate.figures import typeset
from rayl2o.evaluate.front_data import Column, FrontPoint, MappingView, NetworkMarks, TraceView
from rayl2o.evaluate.report import environment
from rayl2o.evaluate.report_data import Formula, Insight
from rayl2o.evaluate.symbolic_figures import symbolic_figures
from rayl2o.evaluate.trail_figure import trail_figure


@dataclass(frozen=True)
class DistillationData:
    """Everything on the page. Empty parts are left out.

    Attributes:
        title, summary: Heading, and what was done.
        formula: The selected one.
        columns: Network, distilled, gained, tuned.
        front, network: Points by complexity, and what stands beside them.
        mappings, traces: Network beside formula.
        insights, insights_note: TPF and MC, and how they were counted.
        settings: By name, as text.
        missing: What this distillation does not have, a sentence each.
        command, created: What was typed; date and time, as text.
    """

    title: str
    summary: str
    formula: Formula
    columns: tuple[Column, ...]
    front: tuple[FrontPoint, ...]
    network: NetworkMarks = field(default_factory=NetworkMarks)
    mappings: tuple[MappingView, ...] = ()
    traces: tuple[TraceView, ...] = ()
    insights: tuple[Insight, ...] = ()
    insights_note: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    command: str = ""
    created: str = ""


def render_distillation(data: DistillationData) -> str:
    """The page as text. Everything that comes from ``data`` is escaped."""
    drawn = typeset(rf"\Delta\theta_t \;=\; {data.formula.latex}") if data.formula.latex else None
    trail = trail_figure(data.columns)
    return environment().get_template("distillation.html.j2").render(
        data=data,
        formula=Markup(drawn) if drawn else None,
        trail=Markup(trail) if trail else None,
        figures=symbolic_figures(data.front, data.network, data.mappings, data.traces),
        marks=[],
    )  # fmt: skip


def write_distillation(path: Path | str, data: DistillationData) -> None:
    """Renders into a file, whole or not at all.

    Raises:
        UserError: If the disk refuses.
    """
    text = render_distillation(data)
    replace_file(Path(path), lambda file: file.write(text.encode()))
