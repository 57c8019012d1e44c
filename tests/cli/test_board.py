from __future__ import annotations

import io
import math
import re

import pytest
from rich.console import Console
from rich.text import Text

from rayl2o.cli.board import Board, View, counts, duration, sparkline, title_of, workers_line
from rayl2o.telemetry import WorkersView
from tests.follow.said import CALM, FAULTY, progress


def shown(view: View, width: int) -> str:
    """The panel as text."""
    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system=None, width=width, legacy_windows=False).print(Board(view))
    return file.getvalue()


def _view(workers: WorkersView | None, **changes: object) -> View:
    said = progress(7, workers, skipped=0.0)
    given: dict[str, object] = {
        "title": "rnnprop on mlp",
        "round": 7, "updates": 20, "loss": 0.5714, "course": [4.0, 2.0, 1.0, 0.5], "progress": said, "score": 0.25,
        "elapsed_s": 61.0, "left_s": 3700.0, **changes,
    }  # fmt: skip
    return View(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "width", "text"),
    [
        ([], 4, ""),
        ([1.0], 0, ""),
        ([1.0], 4, "▁"),
        ([1.0, 1.0], 4, "▁▁"),
        ([0.0, 7.0], 4, "▁█"),
        ([0, 0, 3.5, 3.5, 7, 7], 3, "▁▅█"),
        ([float(i) for i in range(8)], 8, "▁▂▃▄▅▆▇█"),
        ([10.0**i for i in range(8)], 8, "▁▂▃▄▅▆▇█"),
        ([1.0, math.nan, 2.0], 3, "▁×█"),
        ([1.0, math.nan, math.inf, 2.0], 2, "▁█"),
        ([math.nan, math.inf], 2, "××"),
    ],
)
def test_sparkline(values: list[float], width: int, text: str) -> None:
    assert sparkline(values, width) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1.0, "0:00"), (5.9, "0:05"), (61, "1:01"), (3599, "59:59"), (3600, "1:00:00"), (360000, "100:00:00")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_put_the_most_frequent_first() -> None:
    assert counts({"hung": 1, "died": 2, "node": 0, "overdue": 1}) == "died 2, hung 1, overdue 1"
    assert counts({}) == ""


def test_workers_in_a_line() -> None:
    assert workers_line(CALM) == "workers 2/2  staleness 1/1/1"
    assert workers_line(FAULTY) == (
        "workers 1/2  staleness 1/3/3  restarts died 2, out of memory 1  drops stale 4  rerun 6  set aside 1"
    )
    assert workers_line(WorkersView(wanted=4)) == "workers 0/4"


@pytest.mark.parametrize("width", [40, 60, 80, 109, 110, 120, 200])
@pytest.mark.parametrize("workers", [None, CALM, FAULTY])
def test_the_panel_fits_its_terminal(workers: WorkersView | None, width: int) -> None:
    lines = shown(_view(workers), width).splitlines()
    assert {len(line) for line in lines} == {width}


@pytest.mark.parametrize("width", [80, 120])
def test_everything_is_in_the_panel(width: int) -> None:
    text = shown(_view(FAULTY), width)
    for part in (
        "rnnprop on mlp", "7/20", "35 %", "1:01", "1:01:40 left", "0.5714", "score 0.25", "200, stage 2 of 3", "█", "▁",
        "2,000 inner steps/s", "1 of 2 ready, 3 calls out", "idle 12 % of the time", "p50 1, p99 3, max 3 versions",
        "died 2, out of memory 1", "dropped stale 4, made again 6", "slot 3, trajectory 17: 'no [such] data'",
    ):  # fmt: skip
        assert part in text, part
    beside = re.search("horizon.*workers|horizon.*learner", text) is not None
    assert beside == (width == 120)


def test_calm_workers_and_no_workers() -> None:
    text = shown(_view(CALM), 80)
    assert "2 of 2 ready" in text
    assert re.search(r"restarts +none ", text)
    assert "none lost" in text
    assert "set aside" not in text
    text = shown(_view(None), 80)
    for word in ("workers", "staleness", "restarts", "learner"):
        assert word not in text
    assert "2 of 2 were ready" in shown(_view(CALM, over=True), 80)


def test_before_the_first_round() -> None:
    text = shown(View("x", updates=20, elapsed_s=5.0), 80)
    assert "0/20" in text
    assert "0:05" in text
    assert "no round is done yet" in text


def test_rounds_without_a_known_end() -> None:
    text = shown(View("x", round=7, loss=0.5, course=(0.5,)), 80)
    assert re.search(r"round +7 ", text)
    assert "%" not in text


@pytest.mark.parametrize(("quiet", "told"), [(None, False), (3.0, False), (45.0, True)])
def test_a_long_pause_is_told(quiet: float | None, told: bool) -> None:
    assert ("no round for 0:45" in shown(_view(CALM, quiet_s=quiet), 80)) == told


def test_a_loss_that_is_no_number_and_skipped_updates() -> None:
    text = shown(_view(None, loss=math.nan, course=[1.0, math.nan], progress=progress(7, skipped=3.0)), 80)
    assert "nan" in text
    assert "×" in text
    assert "3 updates, gradient not finite" in text


def test_rows_above_and_below_and_text_of_others() -> None:
    text = shown(_view(None, head=(("state", Text("fine")),), foot=(("next", Text("go")),), title="a\x1b[31m\nb"), 80)
    assert text.index("fine") < text.index("7/20") < text.index("speed") < text.index("go")
    assert "\x1b" not in text


def test_titles() -> None:
    assert title_of("local") == "Ray on this machine"
    assert title_of("new") == "new"
