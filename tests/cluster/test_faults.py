"""Real faults to the processes and the disk of a run on one machine. Every time: it ends in time, with the bytes of a calm
one or with a named error; its newest checkpoint loads; nothing of it is left running.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.driven import Driver, workers_at_end
from benchmarks.faults import (
    LEARNER,
    ROLLOUT,
    WORKER,
    catch,
    checkpoints,
    end_all,
    running_below,
    slow,
    tear,
    titled,
    wait_for,
)
from rayl2o import folder, run
from rayl2o.cluster.train import ClusterResult, train
from rayl2o.config import RunConfig, dump, load
from rayl2o.errors import UserError
from rayl2o.telemetry import Progress
from tests.cli.command import TINY, rayl2o
from tests.conftest import PLUGINS, SWITCHES, takes_minutes
from tests.plugin_files import installed

pytestmark = pytest.mark.timeout(300)

FAULTY = (
    "task.name=troubled",
    "slots=3",
    "lag=1",
    "updates=12",
    "output.checkpoint_every=4",
    "behaviour.imitation=[0.3]",
    "behaviour.self_improving=true",
)
RAY = ("runtime.kind=local", "runtime.workers=2", "runtime.ping_s=2.0", "runtime.start_deadline_s=60")


@pytest.fixture(autouse=True)
def troubled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plugin of tasks that make trouble, for this process."""
    with installed(PLUGINS, monkeypatch):
        yield


def _config(*overrides: str, **settings: object) -> RunConfig:
    plain = load("quickstart", [*TINY, *FAULTY, "task.settings={}", *overrides])
    return replace(plain, task=replace(plain.task, settings=settings))


def _inline(config: RunConfig, out: Path) -> str:
    """The undisturbed run's digest; without naps, which change no number."""
    calm = {**config.task.settings, "nap_ms": 0}
    config = replace(config, task=replace(config.task, settings=calm), runtime=type(config.runtime)())
    return run.train(config, out).phi_sha256


def _checked(result: ClusterResult, config: RunConfig, tmp_path: Path) -> None:
    """What must hold after every fault that a run outlives."""
    assert result.train.phi_sha256 == _inline(config, tmp_path / "inline")
    found = folder.load_newest(result.train.run)
    assert found is not None
    assert found[0].round == config.updates
    assert _nothing_left()


def _nothing_left() -> bool:
    roots = [os.getpid()]
    return wait_for(lambda: not titled(WORKER, roots) and not titled(LEARNER, roots), 10)


class _Saboteur:
    """Follows a run and does faults, each as soon as there were new rounds after the one before."""

    def __init__(self, *faults: Callable[[], object]) -> None:
        self._faults, self._round, self._stop = faults, 0, threading.Event()
        self._done: list[int] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> _Saboteur:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def on_round(self, progress: Progress) -> None:
        self._round = max(self._round, progress.round)

    def check(self) -> None:
        assert not self._errors, self._errors
        assert len(self._done) == len(self._faults), f"the run ended after {len(self._done)} faults"

    def _work(self) -> None:
        for fault in self._faults:
            aim = self._round + 2
            wait_for(lambda aim=aim: self._round >= aim or self._stop.is_set(), 100)  # type: ignore[misc]
            if self._stop.is_set():
                return
            try:
                fault()
            except BaseException as error:
                self._errors.append(error)
                return
            self._done.append(self._round)


def _signal(title: str, number: int) -> Callable[[], object]:
    draws = random.Random(0)
    return lambda: catch(title, [os.getpid()], draws).send(number)


def _slow_one() -> None:
    slow(catch(ROLLOUT, [os.getpid()], random.Random(0)), seconds=6, period_s=1.0)


@pytest.mark.usefixtures("ray_local")
def test_processes_that_die_hang_or_crawl(tmp_path: Path) -> None:
    # Checkpoints so far apart that of two lost learners at least one has rounds to make again.
    config = _config(*RAY, "updates=26", "output.checkpoint_every=12", nap_ms=40)
    faults = (
        _signal(WORKER, signal.SIGKILL),
        _signal(ROLLOUT, signal.SIGKILL),
        _slow_one,
        _signal(LEARNER, signal.SIGKILL),
        _signal(ROLLOUT, signal.SIGSTOP),
        _signal(LEARNER, signal.SIGSTOP),
    )
    with _Saboteur(*faults) as saboteur:
        result = train(config, tmp_path / "run", saboteur.on_round)
    saboteur.check()
    _checked(result, config, tmp_path)
    restarts = result.workers.restarts
    assert restarts["died"] >= 2
    assert restarts["hung"] >= 1
    assert restarts["learner"] == 2
    assert result.workers.drops["late"] >= 1  # the answer that a crawling worker brought after another had it
    assert result.workers.rerun >= 1
    assert result.workers.quarantined == ()


@pytest.mark.usefixtures("ray_local")
def test_tasks_that_raise_once_and_gradients_that_are_not_finite(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    trouble = "raise once,huge"
    config = _config(*RAY, "learner.rollback_after=2", trouble=trouble, every=3, marks=str(tmp_path / "marks"))
    result = train(config, tmp_path / "run")
    assert list((tmp_path / "marks").iterdir())
    _checked(result, config, tmp_path)
    assert result.workers.quarantined == ()
    states = [folder.load_newest(tmp_path / name) for name in ("run", "inline")]
    counted = [(s[0].learner.skipped, s[0].learner.rollbacks, s[0].learner.updates) for s in states if s is not None]
    assert counted[0] == counted[1]
    assert min(counted[0]) > 0


@pytest.mark.usefixtures("ray_local")
def test_a_task_that_always_fails_is_set_aside_and_named(tmp_path: Path) -> None:
    config = _config(*RAY, "instances=1", "runtime.max_attempts=2", trouble="raise always", every=11)
    result = train(config, tmp_path / "run")
    assert result.train.updates == config.updates
    assert result.workers.quarantined
    assert result.to_json()["quarantined"] == list(result.workers.quarantined)
    for line in result.workers.quarantined:
        assert "always fails" in line
        assert "task 'troubled' seed " in line
        assert line in (tmp_path / "run" / folder.LOG).read_text()
    assert folder.load_newest(tmp_path / "run") is not None
    assert _nothing_left()


@pytest.mark.usefixtures("ray_local")
def test_too_many_tasks_that_always_fail_end_the_run(tmp_path: Path) -> None:
    config = _config(*RAY, "runtime.max_attempts=2", "runtime.max_quarantined=1", trouble="raise always")
    (tmp_path / "config.yaml").write_text(dump(config))
    said = rayl2o("train", tmp_path / "config.yaml", "--out", tmp_path / "run")
    assert (said.code, said.out) == (2, "")
    last = said.err.splitlines()[-1]
    assert last.startswith("error: more than runtime.max_quarantined=1 tasks fail")
    assert "always fails" in last
    assert _nothing_left()


@pytest.mark.usefixtures("ray_local")
def test_a_full_disk_ends_the_run_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """A small file system where the machine lets us mount one, else a limit on what the learner may write."""
    config = _config(*RAY, "updates=16", nap_ms=10)
    with _small_disk(tmp_path / "disk") as mounted:
        out, filler = tmp_path / "disk" / "run", tmp_path / "disk" / "filler"

        def fill() -> None:
            assert wait_for(lambda: checkpoints(out), 30)
            if not mounted:
                for one in titled(LEARNER, [os.getpid()]):
                    resource.prlimit(one.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
                return
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(b"\0" * 4096):
                    pass

        with _Saboteur(fill) as saboteur, pytest.raises(UserError, match=r"cannot write .*was there before is intact"):
            train(config, out, saboteur.on_round)
        saboteur.check()
        found = folder.load_newest(out)
        assert found is not None
        assert 0 < found[0].round < config.updates
        assert _nothing_left()
        filler.unlink(missing_ok=True)
        assert _resumed(out) == _inline(config, tmp_path / "inline")


def _resumed(out: Path) -> str:
    said = rayl2o("train", "--resume", out, "--json")
    assert said.code == 0, said.err
    # Ray itself, which connect() quietens, speaks on stdout of the tests' own Ray.
    return str(json.loads(said.out.splitlines()[-1])["phi_sha256"])


@contextlib.contextmanager
def _small_disk(path: Path) -> Iterator[bool]:
    """A folder, and whether it is a file system of its own, of 2 MB."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    mounted = os.getuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(path)], check=True)


def _environment(**more: str) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**mine, **SWITCHES, "PYTHONPATH": str(PLUGINS), **more}


@contextlib.contextmanager
def _driver(config: RunConfig, tmp_path: Path, **environment: str) -> Iterator[Driver]:
    (tmp_path / "config.yaml").write_text(dump(config))
    driver = Driver(tmp_path / "run", tmp_path / "config.yaml", _environment(**environment))
    try:
        yield driver
    finally:
        driver.close()


def test_a_store_too_small_a_killed_controller_and_a_torn_checkpoint(tmp_path: Path) -> None:
    """A state has 21 MB, so that those of three slots in two rounds are more than the store holds."""
    sizes = (
        "slots=3",
        "instances=1",
        "unroll.sampling=importance",
        "unroll.coords_per_row=10",
        "unroll.steps=1",
        "updates=9",
    )
    config = _config(*RAY, *sizes, "output.checkpoint_every=2", "runtime.object_store_mb=80", size=200_000)
    with _driver(config, tmp_path) as driver:
        driver.start()
        assert wait_for(lambda: len(checkpoints(driver.out)) == 2 or not driver.running, 90)
        assert driver.running
        started = driver.below()
        ours = [one for one in started if one.title.startswith((WORKER, LEARNER))]  # the dead have no title
        assert ours
        driver.kill()
        assert wait_for(lambda: not any(one.alive for one in ours), 20)
        end_all(started, grace_s=0)  # two of Ray's agents stay for a minute
        tear(checkpoints(driver.out)[-1], random.Random(0))
        driver.start()
        ended = driver.wait(120)
        left = end_all(driver.below())
        assert not left
    assert ended["phi_sha256"] == _inline(config, tmp_path / "inline")
    assert "skipped checkpoint" in (driver.out / folder.LOG).read_text()
    assert sum(one["rerun"] for one in workers_at_end(driver.rounds)) == 0


@takes_minutes
def test_a_worker_that_runs_out_of_memory(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    config = _config(*RAY, trouble="hog once", marks=str(tmp_path / "marks"))
    total, free = (_meminfo(name) for name in ("MemTotal", "MemAvailable"))
    threshold = (total - free + 1.5 * 2**20) / total  # 1.5 GB above what is used now
    more = {"RAY_memory_monitor_refresh_ms": "100", "RAY_memory_usage_threshold": f"{threshold:.3f}"}
    with _driver(config, tmp_path, **more) as driver:
        driver.start()
        ended = driver.wait(150)
    assert ended["phi_sha256"] == _inline(config, tmp_path / "inline")
    assert workers_at_end(driver.rounds)[-1]["restarts"]["out of memory"] >= 1  # others may use memory meanwhile


def _meminfo(name: str) -> float:
    """In kB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def test_the_saboteur_sees_only_its_own(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        assert child.pid in {one.pid for one in running_below([os.getpid()])}
        assert not running_below([child.pid])[1:]
        assert not titled("sleep", [2**22 + 1])
        (found,) = titled("sleep", [os.getpid()])
        assert found.send(signal.SIGKILL)
    assert not found.alive
    assert not found.send(signal.SIGKILL)
