"""The learner in this process: its folder, its bounds, its checkpoints. As an actor it is tested with the runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayl2o import folder
from rayl2o.cluster.learner import WRITER, Learner, new_incarnation
from rayl2o.cluster.transport import pack, unpack
from rayl2o.config import RunConfig, dump, load
from rayl2o.errors import UserError
from rayl2o.meta.rounds import Job, perform
from tests.cli.command import TINY

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("ray_local")]


def _begun(out: Path, *more: str) -> tuple[Learner, RunConfig]:
    config = load("quickstart", [*TINY, "updates=4", *more])
    if not (out / folder.CONFIG).exists():
        folder.begin(out, config)
    learner = Learner(dump(config), str(out), out.name, new_incarnation("here", 0))
    (out / "probe").write_text("secret")
    learner.prepare("probe")
    assert (out / "probe.answer").read_text() == "secret seen"
    return learner, config


def _roll(learner: Learner, config: RunConfig, version: int) -> tuple[Any, Any, Any]:
    begun = learner.begin() if learner._state is None else None
    ticket = (begun.slots[0][0]) if begun is not None else learner._known.slots[0][0]
    job = Job(ticket, None, version)
    contribution, state = perform(config.make_rule(), config, unpack(learner.phi(version)), job)
    return ticket, pack(contribution), pack(state)


def test_an_update_is_a_version_and_a_checkpoint_brings_it_back(tmp_path: Path) -> None:
    learner, config = _begun(tmp_path / "run")
    ticket, contribution, state = _roll(learner, config, 0)
    report, phi = learner.learn(0, contribution)
    assert (report.round, report.to_score, report.finished) == (1, None, False)
    assert report.busy_s > 0
    assert learner.save([ticket], state) == 1
    again, _ = _begun(tmp_path / "run")
    begun = again.begin()
    assert (begun.report.round, begun.slots) == (1, ((ticket, True, False),))
    assert {n: t.tolist() for n, t in unpack(again.phi(1)).items()} == {n: t.tolist() for n, t in unpack(phi).items()}
    assert unpack(again.slot_state(0, 1)).step == unpack(state).step


def test_a_learner_that_was_given_up_cannot_write(tmp_path: Path) -> None:
    old, config = _begun(tmp_path / "run")
    ticket, contribution, state = _roll(old, config, 0)
    old.learn(0, contribution)
    _begun(tmp_path / "run")  # its successor
    with pytest.raises(UserError, match="another process has taken over the run"):
        old.save([ticket], state)
    assert not folder.has_checkpoint(tmp_path / "run")
    assert (tmp_path / "run" / WRITER).is_file()


def test_what_is_too_stale_changes_nothing(tmp_path: Path) -> None:
    learner, config = _begun(tmp_path / "run", "lag=1")
    _, contribution, _ = _roll(learner, config, 0)
    for version in (1, 2):
        report, phi = learner.learn_fresh(5, 0, contribution)
        assert (report.round, report.staleness, report.dropped) == (version, {version - 1: 1}, 0)
        assert phi is not None
    report, phi = learner.learn_fresh(1, 0, contribution)
    assert (report.round, report.staleness, report.dropped, phi) == (2, {}, 1, None)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    config = load("quickstart", TINY)
    learner = Learner(dump(config), str(tmp_path / "elsewhere"), "run", "x")
    with pytest.raises(UserError, match="the learner cannot use the run's folder") as refused:
        learner.prepare("probe")
    assert "storage that driver and learner share" in str(refused.value)
