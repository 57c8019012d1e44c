"""Real faults to the nodes of a cluster of three, which has a process of its own, while one run goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.driven import Driver, workers_at_end
from benchmarks.faults import LEARNER, WORKER, titled, wait_for
from benchmarks.nodes import Nodes
from rayl2o import folder, run
from rayl2o.config import RunConfig, TaskChoice, dump, load
from rayl2o.runtime import RuntimeConfig
from tests.cli.command import TINY
from tests.conftest import PLUGINS, takes_minutes
from tests.plugin_files import installed

pytestmark = [pytest.mark.timeout(300), takes_minutes]

SPREAD = (
    "task.name=troubled",
    "slots=4",
    "instances=1",
    "lag=1",
    "updates=300",
    "unroll.steps=1",
    "unroll.sampling=importance",
    "unroll.coords_per_row=10",
    "curriculum.n_train=[10, 100]",
    "output.checkpoint_every=25",
)


@pytest.fixture(autouse=True)
def troubled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with installed(PLUGINS, monkeypatch):
        yield


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    path = os.pathsep.join(filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH", "")]))
    with Nodes((0, 2, 2), environment={"PYTHONPATH": path}) as cluster:
        yield cluster


def _further(driver: Driver, rounds: int, seconds: float = 90) -> None:
    aim = driver.round + rounds
    assert wait_for(lambda: driver.round >= aim or not driver.running, seconds), driver.tail()
    assert driver.running, driver.tail()


def _config(nodes: Nodes, marks: Path, *overrides: str) -> RunConfig:
    """Slow while ``marks`` is empty. A state of 300 kB lies in its node's store and is lost with it."""
    marks.mkdir()
    settings = {"size": 3000, "nap_ms": 100, "marks": str(marks)}
    config = load("quickstart", [*TINY, *SPREAD, "task.settings={}", *overrides])
    runtime = RuntimeConfig(kind="cluster", address=nodes.address, ping_s=2.0)
    return replace(config, task=TaskChoice("troubled", settings), runtime=runtime)


def _driver(config: RunConfig, tmp_path: Path, nodes: Nodes) -> Driver:
    (tmp_path / "config.yaml").write_text(dump(config))
    driver = Driver(tmp_path / "run", tmp_path / "config.yaml", nodes.variables())
    driver.start()
    return driver


def _inline(config: RunConfig, tmp_path: Path) -> str:
    return run.train(replace(config, runtime=RuntimeConfig()), tmp_path / "inline").phi_sha256


def _node(nodes: Nodes, title: str, without: str = "") -> int:
    """A node with such a process, and without another."""
    for number, node in nodes.nodes.items():
        if titled(title, [node.raylet]) and not (without and titled(without, [node.raylet])):
            return number
    raise AssertionError(f"no node with {title}")


def test_nodes_die_leave_and_join(nodes: Nodes, tmp_path: Path) -> None:
    config = _config(nodes, tmp_path / "marks")
    driver = _driver(config, tmp_path, nodes)
    try:
        _further(driver, 3)
        assert driver.rounds[-1].workers["wanted"] == 3

        nodes.kill(_node(nodes, WORKER, without=LEARNER))  # with states of slots that go on
        _further(driver, 5)
        assert driver.rounds[-1].workers["restarts"]["node"] >= 1

        nodes.add(4)  # where the lost worker starts again, and two more that nobody had counted on
        assert wait_for(lambda: driver.round and driver.rounds[-1].workers["alive"] == 5, 90), driver.tail()

        leaving = _node(nodes, WORKER, without=LEARNER)
        nodes.drain(leaving, 2.0)
        _further(driver, 2)
        nodes.remove(leaving)
        _further(driver, 5)

        nodes.kill(_node(nodes, LEARNER))  # nothing is left but the head, which has no CPU
        nodes.add(2)
        _further(driver, 5)
        assert driver.rounds[-1].workers["restarts"]["learner"] == 1
        (tmp_path / "marks" / "awake").touch()
        ended = driver.wait(120)
    finally:
        driver.close()
    assert ended["phi_sha256"] == _inline(config, tmp_path)
    assert sum(one["rerun"] for one in workers_at_end(driver.rounds)) > 0
    found = folder.load_newest(driver.out)
    assert found is not None
    assert found[0].round == config.updates
    roots = nodes.raylets
    assert wait_for(lambda: not titled(WORKER, roots) and not titled(LEARNER, roots), 15)


def test_a_lost_learner_takes_the_place_of_a_worker(nodes: Nodes, tmp_path: Path) -> None:
    """Nobody brings the lost node back, and the other one is full."""
    while len(nodes.nodes) < 3:
        nodes.add(2)
    config = _config(nodes, tmp_path / "marks", "updates=150")
    driver = _driver(config, tmp_path, nodes)
    try:
        _further(driver, 3)
        assert wait_for(lambda: driver.round and driver.rounds[-1].workers["alive"] == 3, 60), driver.tail()
        nodes.kill(_node(nodes, LEARNER))
        _further(driver, 1)
        restarts = driver.rounds[-1].workers["restarts"]
        assert restarts["learner"] == 1
        assert restarts["made room"] >= 1
        (tmp_path / "marks" / "awake").touch()
        ended = driver.wait(120)
    finally:
        driver.close()
    assert ended["phi_sha256"] == _inline(config, tmp_path)
