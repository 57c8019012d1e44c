from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rayl2o.follow.identity import own
from rayl2o.follow.record import STATUS, Record, dump_record, parse_record, read_record
from tests.follow.said import CALM, FAULTY, progress

FULL = Record(
    state="failed",
    runtime="local",
    process=own(),
    updated=1.7e9,
    pace_s=0.5,
    pause_s=2.5,
    progress=progress(7, FAULTY),
    recent=((6, 0.5), (7, 0.25)),
    error="it broke",
)


@pytest.mark.parametrize(
    "record",
    [FULL, replace(FULL, progress=progress(7)), replace(FULL, progress=None, recent=(), error=None, state="running")],
)
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    assert parse_record(dump_record(record)) == record


def test_what_is_no_number_is_null_on_disk_and_no_number_again() -> None:
    record = replace(FULL, progress=progress(3, CALM, loss=math.nan, grad_norm=math.inf), recent=((3, math.nan),))
    text = dump_record(record).decode()
    assert "NaN" not in text
    assert "Infinity" not in text
    back = parse_record(text.encode())
    assert back.progress is not None
    assert math.isnan(back.progress.metrics["loss"])
    assert math.isnan(back.progress.metrics["grad_norm"])
    assert math.isnan(back.recent[0][1])


def _changed(path: str, value: Any) -> bytes:
    data = json.loads(dump_record(FULL))
    inside, *rest = path.split(".")
    part = data
    for name in rest:
        part, inside = part[inside], name
    if value is KeyError:
        del part[inside]
    else:
        part[inside] = value
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "Expecting value"),
        (b"[]", "not an object"),
        (b"\xff\xfe", "Expecting value"),
        (b'{"schema_version": 1, "schema_version": 1}', "repeated"),
        (b"[" * 100_000, "nested"),
        (dump_record(FULL)[:200], "Expecting|Unterminated"),
        (_changed("schema_version", 2), "schema_version 2"),
        (_changed("state", "sleeping"), "state 'sleeping'"),
        (_changed("state", KeyError), "'state' is missing"),
        (_changed("process", None), "not an object"),
        (_changed("process.pid", 0), "'pid' is 0"),
        (_changed("process.pid", True), "'pid' is True"),
        (_changed("process.pid", 2**70), "too large"),
        (_changed("updated", -1.0), "'updated'"),
        (_changed("updated", 1e30), "'updated'"),
        (_changed("pause_s", None), "'pause_s'"),
        (_changed("progress.round", "7"), "'round' is '7'"),
        (_changed("progress.metrics", []), "not an object"),
        (_changed("progress.metrics.loss", "low"), "'loss' is 'low'"),
        (_changed("progress.workers.staleness", {"one": 1}), "invalid literal"),
        (_changed("progress.workers.restarts.died", 1.5), "'died' is 1.5"),
        (_changed("recent", [[1]]), "'recent' holds"),
        (_changed("error", 3), "'error' is 3"),
    ],
)
def test_anything_else_is_refused_with_a_reason(data: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        parse_record(data)
    (tmp_path / STATUS).write_bytes(data)
    found = read_record(tmp_path)
    assert isinstance(found, str)
    assert found.startswith(f"{STATUS} is not a status of rayl2o")


def test_reading_a_folder(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    (tmp_path / STATUS).write_bytes(dump_record(FULL))
    assert read_record(tmp_path) == FULL


def test_a_file_that_cannot_be_one_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / STATUS).open("wb") as file:
        file.truncate(5 * 2**20)
    assert "larger" in str(read_record(tmp_path))
    (tmp_path / STATUS).unlink()
    (tmp_path / STATUS).mkdir()
    assert "cannot be read" in str(read_record(tmp_path))
