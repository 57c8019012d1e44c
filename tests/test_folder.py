"""A run's folder as functions of its path: what any runtime writes, reads back, falls back from and sweeps."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rayl2o import checkpoint, folder
from rayl2o.config import RunConfig, load
from rayl2o.errors import UserError
from rayl2o.meta.rounds import TrainState, fresh_state, result, run_round
from rayl2o.meta.snapshot import dump
from tests.cli.command import TINY

REPLAY = ("slots=2", "replay.uses=3", "replay.capacity=5", "replay.max_staleness=4", "behaviour.imitation=[0.4]")
Rows = list[dict[str, float]]


def _config(*overrides: str) -> RunConfig:
    return load("quickstart", [*TINY, "updates=8", *overrides])


def _advance(config: RunConfig, out: Path, state: TrainState, rows: Rows, until: int, every: int = 2) -> TrainState:
    rule, family = config.make_rule(), config.make_family()
    while state.round < until:
        state, metrics = run_round(rule, family, config, state)
        rows.append({"round": float(state.round), **metrics})
        if state.round % every == 0:
            folder.save(config, out, state, rows)
    return state


def _fresh(config: RunConfig) -> TrainState:
    return fresh_state(config.make_rule(), config.make_family(), config, "run")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rounds with replay, checkpoints after 4 and 6."""
    out, config = tmp_path_factory.mktemp("made") / "run", _config(*REPLAY)
    folder.begin(out, config)
    _advance(config, out, _fresh(config), [], 6)
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def _load(out: Path) -> tuple[TrainState, Rows]:
    found = folder.load_newest(out)
    assert found is not None
    return found


def _manifest(out: Path, step: int) -> list[str]:
    data = json.loads((out / "checkpoints" / f"step-{step:08d}" / "manifest.json").read_text())
    names = data["meta"]["replay"]
    assert isinstance(names, list)
    return names


def test_a_config_is_written_once_and_read_back(tmp_path: Path) -> None:
    config = _config("seed=3")
    folder.begin(tmp_path / "run", config)
    assert folder.read_config(tmp_path / "run") == config
    with pytest.raises(UserError, match="holds a run already"):
        folder.begin(tmp_path / "run", config)


def test_a_run_without_a_checkpoint_has_none_to_load(tmp_path: Path) -> None:
    folder.begin(tmp_path / "run", _config())
    assert not folder.has_checkpoint(tmp_path / "run")
    assert folder.load_newest(tmp_path / "run") is None


def test_segments_that_will_never_be_there_are_refused(tmp_path: Path) -> None:
    config = _config("estimator=rtg_worker", "output.segments=true")
    with pytest.raises(UserError, match=r"output\.segments"):
        folder.begin(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_what_is_loaded_is_what_was_saved(run: Path) -> None:
    config = _config(*REPLAY)
    state, rows = _load(run)
    rule, family, same = config.make_rule(), config.make_family(), _fresh(config)
    for _ in range(6):
        same, _ = run_round(rule, family, config, same)
    assert dump(state)[1] == dump(same)[1]
    assert checkpoint.digest(dump(state)[0]) == checkpoint.digest(dump(same)[0])
    assert [row["round"] for row in rows] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert {"replayed", "replay_size"} <= set(rows[-1])


def test_a_resumed_run_replays_as_an_unbroken_one(run: Path, tmp_path: Path) -> None:
    config = _config(*REPLAY)
    whole = _advance(config, tmp_path / "whole", _fresh(config), [], 10)
    assert whole.replay.drops
    state, rows = _load(run)
    ended = _advance(config, run, state, rows, 10)
    assert checkpoint.digest(ended.learner.phi) == checkpoint.digest(whole.learner.phi)
    assert dump(ended)[1] == dump(whole)[1]


def test_only_files_that_a_kept_checkpoint_names_stay(run: Path) -> None:
    named = set(_manifest(run, 4)) | set(_manifest(run, 6))
    assert named
    assert {path.name for path in (run / "replay").iterdir()} == named
    config = _config(*REPLAY)
    state, rows = _load(run)
    _advance(config, run, state, rows, 10)
    now = set(_manifest(run, 8)) | set(_manifest(run, 10))
    assert now != named
    assert {path.name for path in (run / "replay").iterdir()} == now


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-16])


@pytest.mark.parametrize("damage", [_flip, _truncate, Path.unlink])
def test_a_damaged_replay_file_falls_back_says_so_and_is_mended(
    damage: Callable[[Path], None], run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    only_newest = sorted(set(_manifest(run, 6)) - set(_manifest(run, 4)))
    damage(run / "replay" / only_newest[0])
    with caplog.at_level(logging.WARNING):
        state, rows = _load(run)
    assert (state.round, len(rows)) == (4, 4)
    (said,) = [text for record in caplog.records if "skipped" in (text := record.getMessage())]
    assert "step-00000006" in said
    assert only_newest[0] in said
    config = _config(*REPLAY)
    _advance(config, run, state, rows, 6)
    assert _load(run)[0].round == 6


def test_all_checkpoints_without_their_replay_files_are_one_clear_line(run: Path) -> None:
    shutil.rmtree(run / "replay")
    with pytest.raises(UserError, match=r"no valid checkpoint.*step-00000006.*step-00000004"):
        folder.load_newest(run)
    assert folder.trained_rule(run).rule.kind == "rnnprop"  # the rule itself is whole


def test_a_damaged_older_checkpoint_is_passed_over_too(run: Path) -> None:
    (run / "replay" / _manifest(run, 6)[-1]).unlink()
    _flip(run / "checkpoints" / "step-00000004" / "tensors.safetensors")
    with pytest.raises(UserError, match=r"no valid checkpoint.*step-00000006.*step-00000004.*damaged"):
        folder.load_newest(run)


def test_a_manifest_that_cannot_be_read_names_nothing(run: Path) -> None:
    config = _config(*REPLAY)
    state, rows = _load(run)
    (run / "checkpoints" / "step-00000004" / "manifest.json").write_bytes(b"{no")
    folder.save(config, run, state, rows)
    assert {path.name for path in (run / "replay").iterdir()} == set(_manifest(run, 6))


def test_a_checkpoint_from_before_replay_is_read(tmp_path: Path) -> None:
    config = _config()
    state = _advance(config, tmp_path, _fresh(config), [], 2)
    assert not (tmp_path / "replay").exists()
    saved, _ = checkpoint.load_newest(tmp_path / "checkpoints")
    old = {name: value for name, value in saved.meta["state"].items() if name != "replay"}
    checkpoint.save(tmp_path / "checkpoints", 3, saved.tensors, {"state": old})
    assert dump(_load(tmp_path)[0])[1] == dump(state)[1]


def test_finishing_writes_the_rule_with_its_card(tmp_path: Path) -> None:
    config = _config()
    folder.begin(tmp_path / "run", config)
    state = _fresh(config)
    sha256 = folder.finish(config, tmp_path / "run", state)
    loaded = folder.trained_rule(tmp_path / "run")
    assert sha256 == checkpoint.digest(result(config, state)) == checkpoint.digest(loaded.phi)
    assert loaded.card["task"] == config.task.name


def test_what_is_logged_meanwhile_goes_to_the_run_s_log(tmp_path: Path) -> None:
    package = logging.getLogger("rayl2o")
    before = list(package.handlers)
    with folder.logged(tmp_path):
        package.info("hello")
    package.info("not this")
    assert re.fullmatch(r".* INFO hello\n", (tmp_path / "log.txt").read_text())
    assert package.handlers == before
    with pytest.raises(UserError, match="log cannot be written"), folder.logged(tmp_path / "none"):
        pass


def test_segments_are_kept_by_round_from_1(tmp_path: Path) -> None:
    config = _config(*REPLAY)
    state, _ = run_round(config.make_rule(), config.make_family(), config, _fresh(config))
    folder.append_segments(tmp_path, 1, [kept.segment for kept in state.replay.entries])
    (path,) = (tmp_path / "segments").iterdir()
    assert path.name.startswith("round-00000001-")
