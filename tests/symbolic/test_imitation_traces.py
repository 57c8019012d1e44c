"""Traces: the same rule twice, R2 by hand, which coordinate is shown."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from rayl2o.errors import UserError
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.imitation_traces import MOST, WINDOW, Trace, imitation_traces
from tests.symbolic.recorded import recorded

RULE = SymbolicRule.from_formula("-0.1*ema(g, 0.9) - 0.01*m_tilde", clamp=0.5)


def test_the_same_rule_twice_leaves_one_trace() -> None:
    traces = imitation_traces(RULE, recorded(RULE, steps=200))
    assert [trace.tensor for trace in traces] == ["weight", "bias"]
    for trace in traces:
        assert (trace.run, trace.steps, trace.r2) == (0, 200, 1.0)
        assert [window.start for window in trace.windows] == [0, 200 - WINDOW]
        for window in trace.windows:
            assert len(window.network) == WINDOW
            assert window.network == window.formula


def test_another_formula_is_shown_as_it_is() -> None:
    half = replace(RULE, gain=0.5)
    for trace in imitation_traces(half, recorded(RULE)):
        for window in trace.windows:
            assert 0.5 * np.array(window.network) == pytest.approx(np.array(window.formula))
        assert trace.r2 < 1.0


def test_r2_is_over_the_whole_run_and_not_of_what_is_shown() -> None:
    made = recorded(RULE, steps=400, noise=0.05)
    (trace, _) = imitation_traces(RULE, made)
    shown = np.concatenate([window.network for window in trace.windows])
    column = next(i for i in range(8) if made.delta[0, i] == trace.windows[0].network[0])
    y = made.delta[:, column].numpy()
    exact = recorded(RULE, steps=400)
    assert trace.r2 == pytest.approx(
        1 - np.square(y - exact.delta[:, column].numpy()).sum() / np.square(y - y.mean()).sum()
    )
    assert len(shown) == 2 * WINDOW < 400


def test_the_coordinate_of_median_update_is_shown() -> None:
    made = recorded(RULE)
    (trace, _) = imitation_traces(RULE, made)
    sizes = made.delta[:, :8].square().mean(0)
    rank = sizes.argsort().tolist().index(next(i for i in range(8) if made.delta[0, i] == trace.windows[0].network[0]))
    assert rank == 3


@pytest.mark.parametrize(
    ("valid", "starts", "last"), [(1, [0], 1), (60, [0], 60), (70, [0, 60], 10), (120, [0, 60], 60)]
)
def test_a_short_run_is_shown_once(valid: int, starts: list[int], last: int) -> None:
    made = replace(recorded(RULE), valid=torch.full((32,), valid))
    for trace in imitation_traces(RULE, made):
        assert trace.steps == valid
        assert [window.start for window in trace.windows] == starts
        assert len(trace.windows[-1].network) == last


def test_a_network_of_many_tensors_is_thinned() -> None:
    made = recorded(RULE, runs=2)
    many = replace(made, tensor=torch.arange(32) // 2, tensors=tuple(f"t{i}" for i in range(16)))
    names = [trace.tensor for trace in imitation_traces(RULE, many)]
    assert len(names) == MOST
    assert (names[0], names[-1]) == ("t0", "t15")


def test_json_there_and_back() -> None:
    for trace in imitation_traces(RULE, replace(recorded(RULE), valid=torch.ones(32, dtype=torch.int64))):
        told = json.loads(json.dumps(trace.to_json(), allow_nan=False))
        assert told["r2"] is None
        assert repr(Trace.from_json(told)) == repr(trace)


@pytest.mark.parametrize(
    ("field", "value"), [("windows", 1), ("windows", [{"start": 0, "network": [1], "formula": []}]), ("tensor", 3)]
)
def test_hostile_json(field: str, value: object) -> None:
    (trace, _) = imitation_traces(RULE, recorded(RULE))
    with pytest.raises(UserError):
        Trace.from_json({**trace.to_json(), field: value})
