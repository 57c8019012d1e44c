"""A run's folder through the Python API: what is in it, what is refused, what resuming keeps."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from rayl2o import checkpoint
from rayl2o.config import RunConfig, load
from rayl2o.errors import UserError
from rayl2o.run import TrainResult, read_config, resume, scope, train, trained_rule
from rayl2o.telemetry import Progress
from rayl2o.trajectory.store import read_ipc, rounds
from tests.cli.command import TINY

CONTRACT = {"run", "updates", "phi_sha256", "inner_steps_per_s", "status"}


def _config(*overrides: str) -> RunConfig:
    return load("quickstart", [*TINY, "updates=7", *overrides])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(_config("output.segments=true"), tmp_path_factory.mktemp("runs") / "whole")


class _Stop(Exception):
    """Ends a run from a callback."""


def _stopped(folder: Path, at: int) -> Path:
    def stop(progress: Progress) -> None:
        if progress.round == at:
            raise _Stop

    with pytest.raises(_Stop):
        train(_config(), folder, stop)
    return folder


def test_the_folder_holds_what_is_promised(done: TrainResult) -> None:
    assert {path.name for path in done.run.iterdir()} == {
        "config.yaml",
        "metrics.parquet",
        "checkpoints",
        "segments",
        "log.txt",
        "rule.json",
        "rule.safetensors",
        "status.json",
        "events",
    }
    assert read_config(done.run) == _config("output.segments=true")
    assert [path.name for path in sorted((done.run / "checkpoints").iterdir())] == ["step-00000006", "step-00000007"]
    assert "finished after round 7" in (done.run / "log.txt").read_text()


def test_the_result_is_the_contract(done: TrainResult) -> None:
    data = done.to_json()
    assert set(data) == CONTRACT
    assert (data["updates"], data["status"]) == (7, "finished")
    assert data["inner_steps_per_s"] > 0
    assert data["phi_sha256"] == checkpoint.digest(trained_rule(done.run).phi)


def test_metrics_have_a_row_per_round(done: TrainResult) -> None:
    table = pq.read_table(done.run / "metrics.parquet").to_pydict()
    assert table["round"] == [float(i) for i in range(1, 8)]
    assert {"loss", "stage", "seconds", "inner_steps", "grad_norm"} <= set(table)


def test_segments_are_kept_by_round(done: TrainResult) -> None:
    files = rounds(done.run / "segments")
    assert len(files) == 7
    (segment,) = read_ipc(files[3])
    assert segment.source.policy_version == 3
    assert segment.source.run_id == "whole"


def test_equal_configs_give_equal_bytes_and_others_do_not(done: TrainResult, tmp_path: Path) -> None:
    assert train(_config(), tmp_path / "again").phi_sha256 == done.phi_sha256
    assert train(_config("seed=1"), tmp_path / "other").phi_sha256 != done.phi_sha256


@pytest.mark.parametrize("at", [1, 2, 3, 6])
def test_a_run_that_raised_goes_on_to_the_same_bytes(at: int, done: TrainResult, tmp_path: Path) -> None:
    again = resume(_stopped(tmp_path / "run", at))
    assert (again.phi_sha256, again.updates) == (done.phi_sha256, done.updates)


def test_an_unfinished_run_lends_its_newest_checkpoint(tmp_path: Path) -> None:
    folder = _stopped(tmp_path / "run", 5)
    loaded = trained_rule(folder)
    newest, _ = checkpoint.load_newest(folder / "checkpoints")
    assert newest.step == 4
    assert loaded.rule.kind == "rnnprop"
    for name, value in loaded.phi.items():
        assert torch.equal(value, newest.tensors[f"phi/{name}"])


@pytest.mark.parametrize("left", ["config.yaml", "checkpoints"])
def test_a_used_folder_is_refused(left: str, tmp_path: Path) -> None:
    (tmp_path / left).mkdir()
    with pytest.raises(UserError, match="holds a run already"):
        train(_config(), tmp_path)


@pytest.mark.parametrize("call", [resume, trained_rule, read_config])
def test_a_folder_without_a_run_is_refused(call: object, tmp_path: Path) -> None:
    assert callable(call)
    with pytest.raises(UserError, match="no run"):
        call(tmp_path / "nothing")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be made"):
        train(_config(), tmp_path / "file" / "run")


def test_a_config_that_was_damaged_is_refused(tmp_path: Path) -> None:
    folder = _stopped(tmp_path / "run", 3)
    (folder / "config.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"config cannot be read"):
        resume(folder)


def test_damaged_metrics_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = _stopped(tmp_path / "run", 5)
    (folder / "metrics.parquet").write_bytes(b"PAR1 no")
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError, match="metrics cannot be read"):
        resume(folder)
    assert sorted(folder.rglob("*")) == before
    (folder / "metrics.parquet").unlink()
    assert resume(folder).updates == 7


def test_another_machine_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = _stopped(tmp_path / "run", 5)
    there = {**scope(), "cpu_capability": "ABACUS"}
    monkeypatch.setattr("rayl2o.folder.scope", lambda: there)
    with caplog.at_level(logging.WARNING):
        resume(folder)
    assert any("not bit-identical" in record.getMessage() for record in caplog.records)


def test_the_log_level_is_restored(tmp_path: Path) -> None:
    package = logging.getLogger("rayl2o")
    before = package.level, list(package.handlers)
    train(_config("updates=1"), tmp_path / "run")
    assert (package.level, list(package.handlers)) == before


def test_a_curriculum_can_end_a_run_early(tmp_path: Path) -> None:
    overrides = (
        "curriculum.kind=algorithm1",
        "curriculum.period=1",
        "curriculum.min_periods=1",
        "curriculum.instances=2",
    )
    done = train(_config(*overrides, "updates=400", "learner.rtg.lr=0.5"), tmp_path / "run")
    assert done.status == "converged"
    assert done.updates < 400
    scores = pq.read_table(done.run / "metrics.parquet").to_pydict()["score"]
    assert any(score is not None for score in scores)
    assert resume(done.run).phi_sha256 == done.phi_sha256


def test_a_run_on_a_mixture_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    tasks = "[{name: quadratic, settings: {size: 4}}, {name: rosenbrock}, {name: quadratic, settings: {size: 7}}]"
    curriculum = ("curriculum.kind=algorithm1", "curriculum.period=4", "curriculum.instances=3")
    config = _config(
        "task.name=mixture", f"task.settings={{tasks: {tasks}}}", "slots=3", "output.segments=true", *curriculum
    )
    whole = train(config, tmp_path / "whole")
    families = {segment.source.family for path in rounds(whole.run / "segments") for segment in read_ipc(path)}
    assert families == {"quadratic", "rosenbrock"}

    def stop(progress: Progress) -> None:
        if progress.round == 5:
            raise _Stop

    with pytest.raises(_Stop):
        train(config, tmp_path / "cut", stop)
    assert resume(tmp_path / "cut").phi_sha256 == whole.phi_sha256


def test_a_delay_is_of_the_training_only(tmp_path: Path) -> None:
    plain, late = (train(_config(f"rule.delay={delay}"), tmp_path / f"{delay}") for delay in (0, 2))
    assert plain.phi_sha256 != late.phi_sha256
    assert trained_rule(late.run).rule == trained_rule(plain.run).rule
    stopped = tmp_path / "stopped"

    def stop(progress: Progress) -> None:
        if progress.round == 4:
            raise _Stop

    with pytest.raises(_Stop):
        train(_config("rule.delay=2"), stopped, stop)
    assert trained_rule(stopped).rule == trained_rule(plain.run).rule
    assert resume(stopped).phi_sha256 == late.phi_sha256
