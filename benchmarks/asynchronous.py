"""Asynchronous updates against rounds: updates per second and final loss, with and without a worker 10 times slower.

``python benchmarks/asynchronous.py [--seeds 3] [--updates 200]``. Same config, slots and updates for both; the trained rule is
scored in closed loop on held-out seeds, the same for both. Writes ``benchmarks/results/asynchronous.json`` as it goes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch

from rayl2o import folder
from rayl2o.cluster import processes
from rayl2o.cluster import train as training
from rayl2o.cluster.connect import connected
from rayl2o.cluster.process import Process
from rayl2o.cluster.processes import Run
from rayl2o.cluster.worker import Outcome, RolloutWorker, Weights
from rayl2o.config import load
from rayl2o.evaluate.runner import mean_loss
from rayl2o.evaluate.runner import run as evaluate
from rayl2o.folder import trained_rule
from rayl2o.runtime import RoleConfig, RuntimeConfig
from rayl2o.unroll.ticket import Ticket

RESULTS = Path(__file__).parent / "results" / "asynchronous.json"
SLOTS, WORKERS = 4, 3
SLOWDOWN = 10.0
HELD_OUT = tuple(range(5000, 5010))
STEPS = 500


class SlowWorker(RolloutWorker):
    """Takes ten times as long, for every roll-out."""

    def rollout(self, weights: Weights, ticket: Ticket, state: Any, attempt: int) -> tuple[Outcome, Any, Any]:
        """As its base, later."""
        begun = time.perf_counter()
        found = super().rollout(weights, ticket, state, attempt)
        time.sleep((SLOWDOWN - 1.0) * (time.perf_counter() - begun))
        return found


def slow_first(run: Run, number: int, incarnation: int, now: float) -> Process:
    """As ``start_worker``, but the first worker is a slow one."""
    if number:
        return processes.start_worker(run, number, incarnation, now)
    decorate: Any = ray.remote
    kind = decorate(max_restarts=0, num_cpus=0, concurrency_groups={"control": 1})(SlowWorker)
    process = Process(kind.remote(number, incarnation), "worker", number, incarnation)
    process.call(now, None, "prepare", run.text)
    return process


def one(mode: str, slow: bool, seed: int, updates: int, out: Path) -> dict[str, Any]:
    """One run and its score."""
    zero = RoleConfig(num_cpus=0)
    runtime = RuntimeConfig(kind="local", workers=WORKERS, worker=zero, learner=zero, mode=mode)
    config = load("quickstart", [f"seed={seed}", f"updates={updates}", f"slots={SLOTS}", "lag=1"])
    config = replace(config, runtime=runtime)
    training.start_worker = slow_first if slow else processes.start_worker  # type: ignore[attr-defined]
    begun = time.perf_counter()
    done = training.train(config, out)
    seconds = time.perf_counter() - begun
    rule = trained_rule(out)
    curves = evaluate(rule.rule, rule.phi, config.make_family(), HELD_OUT, STEPS)
    return {
        "mode": mode,
        "slow_worker": slow,
        "seed": seed,
        "updates_per_s": updates / seconds,
        "seconds": seconds,
        "loss": float(mean_loss(curves).mean()),
        **{name: done.to_json()[name] for name in ("staleness", "drops", "restarts")},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """All runs, the two modes in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=200)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch, connected(RuntimeConfig(kind="local", workers=WORKERS)):
        for seed in range(args.seeds):
            for slow in (False, True):
                for mode in ("rounds", "asynchronous"):
                    row = one(mode, slow, seed, args.updates, Path(scratch) / f"{mode}-{slow}-{seed}")
                    rows.append(row)
                    print(row, flush=True)
                    machine = {"python": platform.python_version(), "cores": os.cpu_count(), **folder.scope()}
                    RESULTS.write_text(json.dumps({"measured_with": machine, "runs": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
