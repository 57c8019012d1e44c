"""Rows are drawn evenly from strata, or as windows that do not overlap, as S's code cuts them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.sampling import EARLY, LATE, LIVE_AT, WINDOW, draw
from tests.symbolic.recorded import recorded

RULE = SymbolicRule.from_formula("-0.1*g")


def test_windows_of_a_column_do_not_overlap_and_fit_in() -> None:
    run = recorded(RULE, steps=200)
    steps, columns, period = draw(run, 10_000, 0, "windows")
    count = 200 // WINDOW - 2
    assert len(steps) == count * run.grad.shape[1]
    for column in set(columns.tolist()):
        newest = steps[columns == column].sort().values
        assert len(newest) == count
        assert int(newest[0]) >= WINDOW - 1
        assert int(newest[-1]) < 200
        assert bool((newest.diff() >= WINDOW).all())
    assert set(period.tolist()) == {EARLY, LATE}
    assert bool(((steps >= 40) == (period == LATE)).all())


def test_gaps_are_random() -> None:
    run = recorded(RULE, steps=200)
    one, same, other = (draw(run, 10_000, seed, "windows")[0] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len(set(one.tolist())) > 50


def test_a_window_that_is_dead_at_its_mark_is_dropped() -> None:
    run = recorded(RULE, steps=200)
    dead = run.grad.clone()
    dead[:, 0] = 0.0
    dead[50:, 1] = 0.0
    steps, columns, _ = draw(replace(run, grad=dead), 10_000, 0, "windows")
    assert 0 not in columns.tolist()
    kept = steps[columns == 1]
    assert bool((kept - LIVE_AT < 50).all())


def test_at_most_so_many_windows_are_kept_and_none_after_a_divergence() -> None:
    run = recorded(RULE, steps=200)
    assert len(draw(run, 17, 0, "windows")[0]) == 17
    cut = replace(run, valid=torch.full_like(run.valid, 90))
    assert int(draw(cut, 10_000, 0, "windows")[0].max()) < 90


def test_what_cannot_be_drawn_is_refused() -> None:
    run = recorded(RULE, steps=50)
    with pytest.raises(UserError, match="need runs of 60 steps"):
        draw(run, 100, 0, "windows")
    with pytest.raises(UserError, match="did you mean 'windows'"):
        draw(run, 100, 0, "window")
