"""Kept segments on disk: bit for bit there and back, written once, mended, swept."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.meta.behaviour import BehaviourConfig
from rayl2o.meta.curriculum import CurriculumConfig
from rayl2o.meta.replay import ReplayConfig, ReplayState
from rayl2o.meta.replay_files import read, sweep, write
from rayl2o.meta.rounds import TrainConfig, fresh_state, run_round
from rayl2o.rules.registry import make
from rayl2o.tasks.registry import task
from rayl2o.unroll.settings import UnrollConfig

CONFIG = TrainConfig(
    slots=2,
    instances=2,
    unroll=UnrollConfig(steps=4, sampling="importance", coords_per_row=3, credit="exact"),
    curriculum=CurriculumConfig(kind="none", n_train=(8,)),
    behaviour=BehaviourConfig(imitation=(0.4,), self_improving=True),
    replay=ReplayConfig(uses=3),
)


@pytest.fixture(scope="module")
def replay() -> ReplayState:
    rule, family = make("rnnprop-small", {"output_scale": 0.1}), task("quadratic")
    state = fresh_state(rule, family, CONFIG, "run")
    for _ in range(3):
        state, _ = run_round(rule, family, CONFIG, state)
    assert len(state.replay.entries) >= 4
    return state.replay


def test_what_is_read_is_what_was_kept_to_the_bit(replay: ReplayState, tmp_path: Path) -> None:
    names = write(tmp_path, replay)
    assert len(set(names)) == len(replay.entries)
    for kept, again in zip(replay.entries, read(tmp_path, names), strict=True):
        assert again.source == kept.segment.source
        assert again.status == kept.segment.status
        for field in fields(again):
            value = getattr(kept.segment, field.name)
            if isinstance(value, Tensor):
                same = getattr(again, field.name)
                assert same.dtype == value.dtype
                assert torch.equal(same.contiguous().view(torch.uint8), value.contiguous().view(torch.uint8))


def test_a_file_is_written_once_and_again_only_if_it_was_damaged(replay: ReplayState, tmp_path: Path) -> None:
    names = write(tmp_path, replay)
    inodes = {name: (tmp_path / name).stat().st_ino for name in names}
    hurt = tmp_path / names[1]
    data = bytearray(hurt.read_bytes())
    data[len(data) // 2] ^= 1
    hurt.write_bytes(data)
    (tmp_path / names[2]).unlink()
    with pytest.raises(UserError, match="damaged"):
        read(tmp_path, names)
    with pytest.raises(UserError, match="cannot read"):
        read(tmp_path, names[2:])
    assert write(tmp_path, replay) == names
    assert len(read(tmp_path, names)) == len(names)
    assert (tmp_path / names[0]).stat().st_ino == inodes[names[0]]


def test_what_is_not_named_is_swept_but_only_what_is_ours(replay: ReplayState, tmp_path: Path) -> None:
    names = write(tmp_path, replay)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / f".{names[0]}.partial").write_bytes(b"half")
    sweep(tmp_path, names[1:3])
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:3], "notes.txt"}
    sweep(tmp_path / "none", names)


@pytest.mark.parametrize("name", ["../x.arrow", "round-00000001.arrow", 7, ".round-00000001-0123456789abcdef.arrow"])
def test_other_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not the name"):
        read(tmp_path, [name])
