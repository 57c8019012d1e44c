"""``dashboards/grafana.json`` draws every metric of ``cluster/gauges.py`` under the name that Prometheus has, and no other."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from rayl2o.cluster.gauges import METRICS, exported

FILE = Path(__file__).parent.parent / "dashboards" / "grafana.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
TAGS = {name: {"run", *metric.by} for metric in METRICS for name in exported(metric)}
_NAME = re.compile(r"\bray_\w+")


def test_every_metric_is_drawn_and_every_drawn_metric_exists() -> None:
    drawn = {name for expression in EXPRESSIONS for name in _NAME.findall(expression)}
    assert drawn == set(TAGS)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_query(expression: str) -> None:
    names = _NAME.findall(expression)
    assert names
    for pair in ("()", "[]", "{}"):
        assert expression.count(pair[0]) == expression.count(pair[1])
    assert expression.count('{run=~"$run"}') == len(names)  # the choice of a run holds everywhere
    for name in names:
        assert ("rate(" in expression or "increase(" in expression) or not name.endswith(("_bucket", "_sum", "_count"))
    known = set.union(*(TAGS[name] for name in names)) | {"le"}
    for by in re.findall(r"by \(([^)]*)\)", expression):
        assert {tag.strip() for tag in by.split(",")} <= known
    assert "by (" in expression  # else a resumed run would be drawn twice


def test_legends_name_tags_that_the_query_keeps() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            kept = {tag.strip() for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for tag in by.split(",")}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == kept, panel["title"]


def test_the_board() -> None:
    assert re.fullmatch(r"[\w-]{1,40}", DASHBOARD["uid"])
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["title"]
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    assert variables["run"]["datasource"] == SOURCE
    (name,) = _NAME.findall(variables["run"]["definition"])
    assert "run" in TAGS[name]
    assert variables["run"]["query"]["query"] == variables["run"]["definition"]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(PANELS)))
    assert used - {"__rate_interval"} == set(variables)


def test_panels_have_their_source_and_their_place() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = []
    for panel in PANELS:
        assert panel["type"] in {"timeseries", "stat", "heatmap"}
        assert panel["title"]
        assert panel["datasource"] == SOURCE
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEF"[: len(panel["targets"])])
        assert all(target["datasource"] == SOURCE for target in panel["targets"])
        place = {name: panel["gridPos"][name] for name in "xywh"}
        assert min(place["x"], place["y"]) >= 0 < min(place["w"], place["h"])
        assert place["x"] + place["w"] <= 24
        places.append(place)
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, (a, b)
