"""The figures of a distillation as they stand on a page: title, drawing, how to read it. Empty ones are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from rayl2o.evaluate.front_data import FrontPoint, MappingView, NetworkMarks, TraceView
from rayl2o.evaluate.front_figures import FLOOR, front_loss, front_r2, front_tpf
from rayl2o.evaluate.imitation_figures import mapping_figure, trace_figure

_ROWS = (
    "Training: rows that it was fitted to. Validation: other runs, by which the front was made. Test: runs that chose nothing. "
    "Stretched: test rows with gradients times 3, against the network's own answers to them. Each only where it was recorded. "
    f"▼: below {FLOOR:g}, drawn there."
)
_LOSS = (
    "Mean over the selection runs; whisker: least and greatest run; band: the same of the network. All formulas ran the same "
    "runs: whiskers may overlap where one is better on every run. ×: diverged. Not all members are run."
)
_TPF = (
    "Mean lag of an input, weighted by the size of its effect (S, eq. 3), in steps over 20 lags. Dashed: the network. "
    "A signal that a formula does not read has no point."
)


@dataclass(frozen=True)
class Titled:
    """A figure with its title and how to read it."""

    title: str
    svg: Markup
    note: str


@dataclass(frozen=True)
class SymbolicFigures:
    """Of the front against complexity; of network and formula by input; along recorded gradients."""

    front: tuple[Titled, ...]
    mappings: tuple[tuple[MappingView, Markup], ...]
    traces: tuple[tuple[TraceView, Markup], ...]


def symbolic_figures(
    front: Sequence[FrontPoint],
    network: NetworkMarks,
    mappings: Sequence[MappingView] = (),
    traces: Sequence[TraceView] = (),
) -> SymbolicFigures:
    """Draws whatever there is."""
    return SymbolicFigures(
        _front(front, network),
        tuple((curve, Markup(mapping_figure(curve))) for curve in mappings),
        tuple((trace, Markup(trace_figure(trace))) for trace in traces),
    )


def _front(front: Sequence[FrontPoint], network: NetworkMarks) -> tuple[Titled, ...]:
    members = [point for point in front if not point.refused]
    if not members:
        return ()
    found = [Titled("R² against the network", Markup(front_r2(front)), _ROWS)]
    if any(point.loss is not None for point in members):
        found.append(Titled("Mean loss in closed loop", Markup(front_loss(front, network)), _LOSS))
    if any(point.tpf for point in members):
        found.append(Titled("How far back it looks: TPF", Markup(front_tpf(front, network)), _TPF))
    return tuple(found)
