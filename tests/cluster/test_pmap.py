"""The contract of an ordered map, on Ray."""

from __future__ import annotations

import os
import time

import pytest
import torch

from rayl2o.cluster.pmap import ray_map
from rayl2o.errors import UserError
from rayl2o.rules.symbolic import SymbolicRule
from rayl2o.symbolic.recording import PART, collect_all
from rayl2o.symbolic.runs import Runs
from rayl2o.tasks.networks.mlp import MLP

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("ray_local")]


def _square(x: int) -> tuple[int, int, bool, int]:
    time.sleep(0.05 * (x == 0))  # the first comes last, and is still yielded first
    flushed = float(torch.tensor(1e-40) * 1) == 0.0
    return x * x, torch.get_num_threads(), flushed, os.getpid()


def _fail(x: int) -> int:
    if x == 2:
        raise UserError("no such thing", value=x, mend="leave it")
    return x


def _bug(x: int) -> int:
    return 1 // x


def test_results_come_in_order_from_other_processes_on_one_thread() -> None:
    found = list(ray_map()(_square, range(6)))
    assert [value for value, *_ in found] == [0, 1, 4, 9, 16, 25]
    assert {(threads, flushed) for _, threads, flushed, _ in found} == {(1, True)}
    assert os.getpid() not in {pid for *_, pid in found}


def test_it_is_lazy_and_an_error_comes_at_its_place() -> None:
    coming = iter(ray_map()(_fail, iter(range(5))))
    assert [next(coming), next(coming)] == [0, 1]
    with pytest.raises(UserError, match="no such thing: got 2"):
        next(coming)
    with pytest.raises(ZeroDivisionError):
        list(ray_map()(_bug, [0]))


def test_nothing_in_nothing_out() -> None:
    assert list(ray_map()(_square, [])) == []


def _die(_: int) -> int:
    os._exit(1)


def test_a_task_whose_process_always_dies_is_one_line() -> None:
    with pytest.raises(UserError, match="a task was lost on Ray"):
        list(ray_map(retries=0)(_die, [0]))


def test_runs_recorded_on_ray_are_the_runs_recorded_here() -> None:
    rule = SymbolicRule.from_formula("-0.1*g - 0.2*ema(g, 0.9)")
    runs = Runs(MLP(hidden=(4,), batch_size=16), 0, "collect", PART + 2)
    torch.set_flush_denormal(True)
    here, there = (collect_all(rule, rule.init_phi(), runs, 20, 4, pmap=pmap) for pmap in (map, ray_map()))
    assert torch.equal(here.grad, there.grad)
    assert torch.equal(here.delta, there.delta)
    assert torch.equal(here.run, there.run)
