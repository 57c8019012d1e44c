from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from rayl2o.cli.progress import followed, sparkline, train_progress, waiting
from rayl2o.config import load
from rayl2o.run import train
from tests.cli.command import TINY


def _console(terminal: bool) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=140, legacy_windows=False), file


@pytest.mark.parametrize(
    ("values", "width", "text"),
    [
        ([], 4, ""),
        ([1.0], 4, "▁"),
        ([1.0, 1.0], 4, "▁▁"),
        ([0.0, 7.0], 4, "▁█"),
        ([0, 0, 3.5, 3.5, 7, 7], 3, "▁▅█"),
        ([float(i) for i in range(8)], 8, "▁▂▃▄▅▆▇█"),
    ],
)
def test_sparkline(values: list[float], width: int, text: str) -> None:
    assert sparkline(values, width) == text


@pytest.mark.parametrize("terminal", [True, False])
def test_training_shows_round_loss_horizon_score_and_speed(terminal: bool, tmp_path: Path) -> None:
    own = ("updates=20", "curriculum.kind=algorithm1", "curriculum.period=2", "curriculum.instances=2")
    config = load("quickstart", [*TINY, *own])
    console, file = _console(terminal)
    with train_progress(config, console) as follow:
        train(config, tmp_path / "run", follow)
    text = file.getvalue()
    for part in ("round", "loss", "horizon", "score", "inner steps/s"):
        assert part in text
    assert ("\x1b[" in text) == terminal


def test_a_narrow_terminal_still_shows_round_and_loss(tmp_path: Path) -> None:
    config = load("quickstart", [*TINY, "updates=4"])
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, legacy_windows=False)
    with train_progress(config, console) as follow:
        train(config, tmp_path / "run", follow)
    last = file.getvalue().rpartition("round")[2]
    assert "4/4" in last
    assert "loss" in last
    assert "horizon" in last


@pytest.mark.parametrize("terminal", [True, False])
def test_followed_hands_on_every_item_in_order(terminal: bool) -> None:
    console, file = _console(terminal)
    assert list(followed(iter("abc"), 3, "done", lambda item: f"item {item}", console)) == ["a", "b", "c"]
    assert ("done 3/3: item c" in file.getvalue()) != terminal


def test_waiting_says_what_for() -> None:
    console, file = _console(terminal=False)
    with waiting("for [x]", console):
        pass
    assert file.getvalue() == "for [x]\n"
