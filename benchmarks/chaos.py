"""Random faults, one after another, to trainings on a private cluster; at the end each must have the bytes of a calm one.

``python -m benchmarks.chaos --faults 100 --updates 300 --seed 0 --out benchmarks/results/chaos.json``

The cluster has a head without CPUs and nodes for learner and workers. A run that is over before all faults were done is
followed by another with the next seed. The results are written after every fault.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.driven import Driver, workers_at_end
from benchmarks.faults import LEARNER, ROLLOUT, WORKER, catch, checkpoints, end_all, slow, tear, titled, wait_for
from benchmarks.nodes import Nodes
from rayl2o.config import RunConfig, dump, load
from rayl2o.runtime import RuntimeConfig

OVERRIDES = (
    "slots=4",
    "lag=1",
    "unroll.coords_per_row=151",
    "curriculum.kind=algorithm1",
    "curriculum.n_train=[40, 80, 120, 160]",
    "curriculum.period=12",
    "curriculum.min_periods=3",
    "curriculum.instances=4",
    "behaviour.imitation=[0.0, 0.2, 0.3]",
    "behaviour.self_improving=true",
    "behaviour.anneal=200",
    "output.checkpoint_every=10",
)
"""Of quickstart: four slots that overlap with learning, imitation and mix, a curriculum with validations, importance sampling."""
WEIGHTS = {
    "worker killed while idle": 10,
    "worker killed in a call": 18,
    "worker stopped": 12,
    "worker slowed to a tenth": 10,
    "learner killed": 12,
    "learner stopped": 6,
    "controller killed": 8,
    "controller killed, checkpoint torn": 5,
    "raylet of the learner killed": 4,
    "raylet of workers killed": 6,
    "node drained and removed": 5,
    "node added": 4,
}
_DEADLINE_S = 180.0
_MOST_DELAY_S = 3.0
_NEW = 3
_CPUS = 2
_SPARE = 3
"""Nodes beside the head at most."""


@dataclass(frozen=True)
class Fault:
    """A fault that was done.

    Attributes:
        kind: Of :data:`WEIGHTS`.
        run, round: When.
        stall_s: The longest time without a new round from then on until the third one (a process that hangs may be missed
            in the second only); None if that did not come in time. What is made again is not new.
        note: More about it.
    """

    kind: str
    run: int
    round: int
    stall_s: float | None
    note: str = ""


@dataclass
class Results:
    """What a session of faults has brought so far."""

    faults: list[Fault] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    rounds_again: int = 0
    rollouts_again: int = 0
    restarts: Counter[str] = field(default_factory=Counter)
    leftovers: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data: the summary first."""
        kinds = sorted({fault.kind for fault in self.faults})
        done = [fault.stall_s for fault in self.faults if fault.stall_s is not None]
        return {
            "faults": len(self.faults),
            "all_equal": bool(self.runs) and all(run["equal"] for run in self.runs),
            "stuck": sum(fault.stall_s is None for fault in self.faults),
            "stall_s": _spread(done),
            "rounds_run_again": self.rounds_again,
            "rollouts_made_again": self.rollouts_again,
            "restarts": dict(self.restarts),
            "processes_left_behind": self.leftovers,
            "seconds": round(self.seconds, 1),
            "by_kind": {kind: self._kind(kind) for kind in kinds},
            "runs": self.runs,
            "each": [asdict(fault) for fault in self.faults],
        }

    def _kind(self, kind: str) -> dict[str, Any]:
        stalls = [fault.stall_s for fault in self.faults if fault.kind == kind]
        return {"faults": len(stalls), "stall_s": _spread([stall for stall in stalls if stall is not None])}


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return {"p50": round(statistics.median(ordered), 2), "p99": round(p99, 2), "max": round(ordered[-1], 2)}


class Chaos:
    """One cluster, one run at a time, faults until there were enough."""

    def __init__(self, nodes: Nodes, folder: Path, updates: int, seed: int, write: Callable[[Results], None]) -> None:
        self.results = Results()
        self._nodes, self._folder, self._updates, self._seed, self._write = nodes, folder, updates, seed, write
        self._draws = random.Random(seed)
        self._todo = list(WEIGHTS)
        self._draws.shuffle(self._todo)
        self._begun = time.monotonic()
        self._driver: Driver

    def go(self, faults: int) -> None:
        """Does them all, over as many runs as that takes."""
        while len(self.results.faults) < faults:
            self._run(len(self.results.runs), faults)

    def _run(self, number: int, faults: int) -> None:
        config = load("quickstart", [*OVERRIDES, f"updates={self._updates}", f"seed={self._seed + number}"])
        runtime = RuntimeConfig(kind="cluster", address=self._nodes.address, ping_s=2.0, start_deadline_s=90.0)
        begun = time.monotonic()
        self._driver = self._prepared(f"run{number}", replace(config, runtime=runtime))
        self._driver.start()
        try:
            while len(self.results.faults) < faults and self._advance(2):
                self._wait(self._draws.uniform(0, _MOST_DELAY_S))
                if self._driver.running:
                    self._fault(number)
                    self._mend()
            self._driver.wait(_DEADLINE_S + 5.0 * self._updates)
        except AssertionError as error:
            self._say(str(error))
        finally:
            self._driver.close()
        self._judge(number, config, time.monotonic() - begun)

    def _prepared(self, name: str, config: RunConfig) -> Driver:
        (self._folder / f"{name}.yaml").write_text(dump(config))
        return Driver(self._folder / name, self._folder / f"{name}.yaml", self._nodes.variables())

    def _advance(self, rounds: int) -> bool:
        """Waits for more rounds; False at the end of the run."""
        aim = self._driver.round + rounds
        wait_for(lambda: self._driver.round >= aim or not self._driver.running, _DEADLINE_S)
        return self._driver.running and self._driver.round >= aim

    def _wait(self, seconds: float) -> None:
        wait_for(lambda: not self._driver.running, seconds)

    # Faults

    def _fault(self, run: int) -> None:
        kind = self._next_kind()
        before, at, note = self._driver.round, time.time(), ""
        try:
            note = self._do(kind)
        except TimeoutError as error:
            self._say(f"left out: {kind}: {error}")
            return
        aim = before + _NEW
        ended = wait_for(lambda: self._driver.round >= aim or self._driver.ended is not None, _DEADLINE_S)
        fault = Fault(kind, run, before, self._stall(before, at) if ended else None, note)
        self.results.faults.append(fault)
        self._say(f"{len(self.results.faults):4} {kind:36} round {before:5} stall {fault.stall_s} s {note}")
        if fault.stall_s is None:
            self._say(self._driver.tail())
            self._driver.close()
            self._driver.start()
        self._note()

    def _stall(self, before: int, at: float) -> float:
        """The longest gap between ``at`` and the next new rounds."""
        first = {one.round: one.at for one in reversed(self._driver.rounds) if before < one.round <= before + _NEW}
        times = [at, *sorted(max(at, when) for when in first.values())]
        gaps = [after - earlier for earlier, after in pairwise(times)]
        return round(max(gaps, default=0.0), 2)

    def _next_kind(self) -> str:
        """Every kind once in random order, then by weight."""
        if self._todo:
            return self._todo.pop()
        kind: str = self._draws.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        full = len(self._nodes.nodes) > _SPARE
        return "node drained and removed" if kind == "node added" and full else kind

    def _do(self, kind: str) -> str:
        roots = self._nodes.raylets
        send = {
            "worker killed while idle": (WORKER, signal.SIGKILL),
            "worker killed in a call": (ROLLOUT, signal.SIGKILL),
            "worker stopped": (ROLLOUT, signal.SIGSTOP),
            "learner killed": (LEARNER, signal.SIGKILL),
            "learner stopped": (LEARNER, signal.SIGSTOP),
        }
        if kind in send:
            title, what = send[kind]
            catch(title, roots, self._draws).send(what)
        elif kind == "worker slowed to a tenth":
            slow(catch(ROLLOUT, roots, self._draws), seconds=self._draws.uniform(4, 10))
        elif kind.startswith("controller"):
            return self._kill_controller(torn="torn" in kind)
        elif kind == "node added":
            self._nodes.add(_CPUS)
        elif kind == "node drained and removed":
            number = self._node(of_learner=False)
            self._nodes.drain(number, 2.0)
            self._wait(2.0)
            self._nodes.remove(number)
        else:
            self._nodes.kill(self._node(of_learner="learner" in kind))
        return ""

    def _node(self, of_learner: bool) -> int:
        """A node that is not the head, with the learner or without."""
        self._mend()
        numbers = [number for number in self._nodes.nodes if number]
        found = [n for n in numbers if bool(titled(LEARNER, [self._nodes.nodes[n].raylet])) is of_learner]
        if not found:
            raise TimeoutError("no such node")
        return self._draws.choice(found)

    def _kill_controller(self, torn: bool) -> str:
        self._driver.kill()
        note = ""
        if torn:
            # The learner may be about to write another one, until it notices.
            wait_for(lambda: not titled(LEARNER, self._nodes.raylets), 30)
            found = checkpoints(self._driver.out)
            note = tear(found[-1], self._draws) if len(found) > 1 else "the only checkpoint is left alone"
        self._driver.start()
        return note

    def _mend(self) -> None:
        """Brings the cluster back to its size."""
        while len(self._nodes.nodes) < _SPARE:
            self._nodes.add(_CPUS)

    # Results

    def _judge(self, number: int, config: RunConfig, seconds: float) -> None:
        roots = self._nodes.raylets
        gone = wait_for(lambda: not titled(WORKER, roots) and not titled(LEARNER, roots), 20)
        left = [] if gone else titled(WORKER, roots) + titled(LEARNER, roots)
        self.results.leftovers += len(left)
        end_all(left, grace_s=0)
        ended = self._driver.ended or {"error": "it did not end"}
        calm = self._prepared(f"calm{number}", config)
        begun = time.monotonic()
        calm.start()
        want = calm.wait(_DEADLINE_S + 10.0 * self._updates)
        self.results.runs.append(
            {
                "seed": config.seed,
                "updates": ended.get("updates", self._driver.round),
                "status": ended.get("status", ended.get("error")),
                "equal": ended.get("phi_sha256") == want.get("phi_sha256") is not None,
                "phi_sha256": ended.get("phi_sha256"),
                "seconds": round(seconds, 1),
                "calm_inline_seconds": round(time.monotonic() - begun, 1),
                "faults": sum(fault.run == number for fault in self.results.faults),
            }
        )
        furthest = 0
        for one in self._driver.rounds:
            self.results.rounds_again += one.round <= furthest
            furthest = max(furthest, one.round)
        for workers in workers_at_end(self._driver.rounds):
            self.results.rollouts_again += workers["rerun"]
            self.results.restarts.update(workers["restarts"])
        self.results.restarts["controller"] += self._driver.lives - 1
        self._say(f"run {number}: {self.results.runs[-1]}")
        self._note()

    def _note(self) -> None:
        self.results.seconds = time.monotonic() - self._begun
        self._write(self.results)

    def _say(self, line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - self._begun:7.1f} s  {line}\n")


def main(arguments: Sequence[str]) -> int:
    """Runs the benchmark; 0 if every run ended with the bytes of a calm one and nothing was left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--updates", type=int, default=300, help="rounds of every run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None, help="JSON file")
    given = parser.parse_args(arguments)

    def write(results: Results) -> None:
        if given.out is not None:
            given.out.parent.mkdir(parents=True, exist_ok=True)
            partial = given.out.with_suffix(".partial")
            partial.write_text(json.dumps(results.to_json(), indent=1) + "\n")
            os.replace(partial, given.out)

    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with Nodes((0, _CPUS, _CPUS)) as nodes:
        chaos = Chaos(nodes, folder, given.updates, given.seed, write)
        chaos.go(given.faults)
    shutil.rmtree(folder, ignore_errors=True)
    found = chaos.results.to_json()
    print(json.dumps({name: value for name, value in found.items() if name not in ("each",)}, indent=1))
    return 0 if found["all_equal"] and not found["processes_left_behind"] and not found["stuck"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
