from __future__ import annotations

import errno
import logging
import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rayl2o.follow.events import EventWriter, recorded, scalars
from tests.follow.said import CALM, FAULTY, progress

# TFRecord: length (uint64), masked crc of it (uint32), data, masked crc of the data (uint32).


def _read(file: Path) -> list[Any]:
    """The events of a file, checksums and length checked."""
    from tensorboardX.proto.event_pb2 import Event  # type: ignore[import-untyped]
    from tensorboardX.record_writer import masked_crc32c  # type: ignore[import-untyped]

    found, data = [], file.read_bytes()
    while data:
        (size,), (check,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        assert check == masked_crc32c(data[:8])
        body, (check,) = data[12 : 12 + size], struct.unpack("<I", data[12 + size : 16 + size])
        assert check == masked_crc32c(body)
        found.append(Event.FromString(body))
        data = data[16 + size :]
    return found


def _shown(folder: Path, tag: str) -> dict[int, float]:
    """What TensorBoard shows of a tag: files by name, and a START forgets its step and all later ones."""
    from tensorboardX.proto.event_pb2 import SessionLog

    shown: dict[int, float] = {}
    for file in sorted(folder.iterdir()):
        first, *events = _read(file)
        assert first.file_version == "brain.Event:2"
        for event in events:
            if event.session_log.status == SessionLog.START:
                shown = {step: value for step, value in shown.items() if step < event.step}
            for value in event.summary.value:
                if value.tag == tag:
                    assert event.step not in shown, "a step is shown twice"
                    shown[event.step] = value.simple_value
    return shown


def test_a_run_is_recorded_round_by_round(tmp_path: Path) -> None:
    with recorded(tmp_path / "events") as take:
        assert not (tmp_path / "events").exists()
        for i in range(1, 4):
            take(progress(i, FAULTY if i == 3 else CALM))
    assert _shown(tmp_path / "events", "train/loss") == {1: 4.0, 2: 2.0, 3: pytest.approx(4 / 3)}
    assert _shown(tmp_path / "events", "workers/alive") == {1: 2.0, 2: 2.0, 3: 1.0}
    assert _shown(tmp_path / "events", "workers/restarts/out_of_memory") == {3: 1.0}


def test_a_resumed_run_shows_no_round_twice(tmp_path: Path) -> None:
    with recorded(tmp_path) as take:
        for i in range(1, 8):
            take(progress(i, loss=1.0))
    with recorded(tmp_path) as take:
        for i in range(5, 7):
            take(progress(i, loss=2.0))
    assert len(list(tmp_path.iterdir())) == 2
    assert _shown(tmp_path, "train/loss") == {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 2.0, 6: 2.0}
    with recorded(tmp_path) as take:  # killed before its first checkpoint: begins again
        take(progress(1, loss=3.0))
    assert _shown(tmp_path, "train/loss") == {1: 3.0}


def test_what_is_recorded() -> None:
    found = scalars(progress(3, FAULTY, score=0.5, replay_size=12.0, inner_steps=1.0))
    assert found == {
        "train/loss": 4 / 3,
        "train/grad_norm": 0.5,
        "train/skipped": 0.0,
        "train/score": 0.5,
        "train/replay_size": 12.0,
        "run/stage": 1,
        "run/horizon": 200,
        "run/inner_steps": 3000,
        "run/inner_steps_per_s": 2000.0,
        "workers/alive": 1,
        "workers/wanted": 2,
        "workers/in_flight": 3,
        "workers/restarts": 3,
        "workers/restarts/died": 2,
        "workers/restarts/out_of_memory": 1,
        "workers/drops": 4,
        "workers/drops/stale": 4,
        "workers/rerun": 6,
        "workers/quarantined": 1,
        "workers/learner_idle": 0.125,
        "staleness/p50": 1,
        "staleness/p99": 3,
        "staleness/max": 3,
    }
    assert not any(tag.startswith(("workers", "staleness")) for tag in scalars(progress(3)))


def test_a_loss_that_is_no_number_is_recorded_as_such(tmp_path: Path) -> None:
    with recorded(tmp_path) as take:
        take(progress(1, loss=math.nan))
    assert math.isnan(_shown(tmp_path, "train/loss")[1])


def test_what_was_recorded_is_on_disk_before_the_end(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    writer(progress(1))
    assert _shown(tmp_path, "train/loss") == {1: 4.0}
    writer.close()
    writer.close()


def test_a_disk_that_refuses_is_one_warning_and_not_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "events").write_text("in the way")
    with caplog.at_level(logging.WARNING), recorded(tmp_path / "events") as take:
        take(progress(1))
        take(progress(2))
    assert len(caplog.records) == 1
    caplog.clear()

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = EventWriter(tmp_path / "full")
    writer(progress(1))
    file = writer._file
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(file, "close", full)
        writer.close()
    file.close()
    assert "No space left" in caplog.text


def test_it_loads_no_torch_of_its_own_and_warns_of_nothing() -> None:
    code = (
        "import sys, rayl2o.follow.events as events, rayl2o.telemetry\n"
        "assert not {'torch', 'tensorboardX', 'ray'} & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
