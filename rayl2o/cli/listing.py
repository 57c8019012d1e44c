"""``rayl2o list``: what there is by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from rayl2o.cli.options import Json
from rayl2o.cli.output import output
from rayl2o.errors import unknown_name

Item = dict[str, Any]
BUILT_IN = "built-in"


def verb(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="tasks, rules, presets, suites, studies or engines.")],
    as_json: Json = False,
) -> None:
    """List tasks, rules, presets, suites, studies or engines, with where each comes from."""
    if what not in KINDS:
        raise unknown_name("list", what, KINDS)
    with output(as_json) as says:
        items = KINDS[what]()
        says.result({"items": items}, _table(what, items))


def _tasks() -> list[Item]:
    from rayl2o.tasks.registry import tasks

    return [{**vars(info), "params_by_data": dict(info.params_by_data)} for info in tasks()]


def _rules() -> list[Item]:
    from rayl2o.rules.registry import rules

    return [dict(vars(info)) for info in rules()]


def _presets() -> list[Item]:
    from rayl2o.presets import presets

    return [{"name": name, "source": BUILT_IN, "summary": summary} for name, summary in presets().items()]


def _suites() -> list[Item]:
    from rayl2o.evaluate.suites import SUITES

    return [
        {"name": name, "source": BUILT_IN, "summary": suite.summary, "tasks": list(suite.tasks)}
        for name, suite in SUITES.items()
    ]


def _studies() -> list[Item]:
    from rayl2o.studies import studies

    return [{"name": name, "source": BUILT_IN, "summary": summary} for name, summary in studies().items()]


def _engines() -> list[Item]:
    from rayl2o.symbolic.engines.presets import presets
    from rayl2o.symbolic.engines.registry import ENGINES, is_available, resolve

    summaries = {**{name: info.summary for name, info in ENGINES.items()}, **presets()}
    kinds = {name: resolve(name).engine for name in summaries}
    return [
        {
            "name": name,
            "preset_of": "" if name in ENGINES else kinds[name],
            "source": BUILT_IN,
            "summary": summary,
            "usable": is_available(name),
            "needs": ENGINES[kinds[name]].needs,
        }
        for name, summary in summaries.items()
    ]


KINDS: Mapping[str, Callable[[], list[Item]]] = MappingProxyType(
    {
        "tasks": _tasks,
        "rules": _rules,
        "presets": _presets,
        "suites": _suites,
        "studies": _studies,
        "engines": _engines,
    }
)


_FOR_PEOPLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "tasks": ("name", "paper", "params", "data", "twin_of", "summary", "source", "error"),
        "engines": ("name", "summary", "usable", "needs", "source"),
    }
)
"""Columns where there are too many for a terminal; ``--json`` has all."""


def _table(what: str, items: list[Item]) -> Table:
    """Name, source and summary first, then whatever else the items have; empty columns are left out."""
    table = Table(title=what)
    filled = dict.fromkeys(key for item in items for key in item if item[key] not in (None, {}, [], (), ""))
    names = [name for name in _FOR_PEOPLE.get(what, tuple(filled)) if name in filled]
    if what in _FOR_PEOPLE and all(item["source"] == BUILT_IN for item in items):
        names.remove("source")
    for name in names:
        table.add_column(name, overflow="fold", justify="right" if name == "params" else "left")
    for item in items:
        table.add_row(*(Text(_cell(item.get(name))) for name in names))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)
