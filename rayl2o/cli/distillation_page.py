"""A distillation as read from its file, put into the words and numbers of its page."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping

from rayl2o.cli.front_document import FrontDocument
from rayl2o.cli.output import number, one_line
from rayl2o.demo.front_points import front_points
from rayl2o.errors import UserError
from rayl2o.evaluate.distillation_report import DistillationData
from rayl2o.evaluate.front_data import Column
from rayl2o.evaluate.report_data import Formula, Insight

_NOTE = "Over 20 lags (S, eq. 3). Constants, operands (an average counts once) and operators count 1 node each."


def distillation_page(document: FrontDocument, command: str) -> DistillationData:
    """What the page shows; what an older file lacks is named on it.

    Raises:
        UserError: If the file holds no selected formula.
    """
    chosen = document.selected
    if chosen is None:
        raise UserError("a page needs the selected formula", value="a bare front", mend="name what 'distill' wrote")
    rule = chosen.rule()
    state = f"{rule.buffers} float{'s' if rule.buffers != 1 else ''} of state per parameter"
    note = (
        f"{chosen.complexity} nodes, {state}, by {one_line(chosen.engine)}; the step is clamped at {chosen.clamp:.3g}"
    )
    pictures = document.pictures
    return DistillationData(
        title=f"Distillation of {_told(document, 'distilled_from', 'a learned rule')}",
        summary=_summary(document),
        formula=Formula(rule.formula, rule.latex().partition(" = ")[2], note),
        columns=document.columns,
        front=front_points(document.front, chosen),
        network=document.network,
        mappings=pictures.curves,
        traces=pictures.traces,
        insights=_insights(document),
        insights_note=_NOTE,
        settings={
            **{name: _text(value) for name, value in document.card.items()},
            **{f"seconds: {name}": _text(value) for name, value in document.seconds.items()},
        },
        missing=_missing(document),
        command=command,
        created=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _summary(document: FrontDocument) -> str:
    """Says what the formula does beside its network, on runs that chose nothing where there are such runs."""
    found = {column.name: column for column in document.columns}
    task, horizon = _told(document, "task", "its task"), _told(document, "horizon", "the horizon's")
    where = f"on {task} over {horizon} steps"
    network, formula = found.get("network"), found.get("distilled")
    if network is None or formula is None:
        return f"Formulas for what the rule does {where}."
    fresh = network.held_out is not None and formula.held_out is not None
    own, other = (_loss(column, fresh) for column in (network, formula))
    runs = len(network.held_out_runs if fresh else network.losses)
    kind = "that chose nothing" if fresh else "by which it was selected, so it is favoured"
    return (
        f"Mean loss {where}: the network {number(own)}, the selected formula as distilled {number(other)}, over the same "
        f"{runs or 'few'} runs {kind}. R² of the formula to the network: {number(formula.r2, 3)}."
    )


def _loss(column: Column, fresh: bool) -> float | None:
    return column.held_out if fresh else column.mean_loss


def _insights(document: FrontDocument) -> tuple[Insight, ...]:
    chosen, measures = document.selected, document.measures
    mc, threshold = measures.get("mc"), measures.get("mc_threshold")
    reached = (
        "–"
        if threshold is None
        else f"{'not reached' if mc is None else f'{_text(mc)} nodes'} at R² {_text(threshold)}"
    )
    found = []
    if document.network.tpf:
        found.append(Insight("network", _lags(document.network.tpf), reached, "by the slopes of its update"))
    if chosen is not None:
        lags = _lags(chosen.tpf) if chosen.tpf else "not measured"
        found.append(Insight("selected formula", lags, f"{chosen.complexity} nodes, its own size", "by signal"))
    return tuple(found)


def _lags(tpf: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in tpf.items())


def _missing(document: FrontDocument) -> tuple[str, ...]:
    members = document.front.candidates
    lacks = {
        "R² on test rows": all(c.r2_test is None for c in members),
        "R² with stretched gradients": all(c.r2_stretched is None for c in members),
        "the spread of losses over runs": all(not c.closed_loop_runs for c in members),
        "TPF of the formulas": all(not c.tpf for c in members),
        "learning curves on fresh runs": not any(column.trail for column in document.columns),
        "mapping curves": not document.pictures.curves,
        "updates along recorded gradients": not document.pictures.traces,
    }
    return tuple(f"This distillation has not recorded {what}." for what, absent in lacks.items() if absent)


def _told(document: FrontDocument, name: str, otherwise: str) -> str:
    value = document.card.get(name)
    return otherwise if value is None else _text(value)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return one_line(value if isinstance(value, str) else json.dumps(value))
