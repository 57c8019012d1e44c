from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rayl2o.study import trained as room
from rayl2o.study.job import TrainingJob, jobs
from rayl2o.study.trained import trained
from rayl2o.study.training import Snapshot
from tests.study.examples import toy

JOB = jobs(toy(snapshots={"updates": [0, 2]}))[0]


def _trained(folder: Path, digest: str = "one") -> list[Snapshot]:
    assert isinstance(JOB, TrainingJob)
    return trained(JOB.arm.config(0), JOB.snapshots, JOB.name, folder, digest)


def _refuse(*_: object) -> list[Snapshot]:
    raise AssertionError("trained again")


def test_what_was_trained_is_read_and_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _trained(tmp_path)
    assert [one.mark.at for one in first] == [0, 2, 3]
    monkeypatch.setattr(room, "train", _refuse)
    for one, other in zip(first, _trained(tmp_path), strict=True):
        assert (one.mark, one.round, one.cpu_s, one.inner_steps, one.skipped) == (
            other.mark, other.round, other.cpu_s, other.inner_steps, other.skipped,
        )  # fmt: skip
        assert one.phi.keys() == other.phi.keys()
        assert all(torch.equal(value, other.phi[name]) for name, value in one.phi.items())
    with pytest.raises(AssertionError, match="trained again"):
        _trained(tmp_path, "another")


def test_what_is_damaged_is_trained_again(tmp_path: Path) -> None:
    first = _trained(tmp_path)
    (file,) = tmp_path.glob("*/tensors.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    again = _trained(tmp_path)
    assert all(torch.equal(value, again[-1].phi[name]) for name, value in first[-1].phi.items())
