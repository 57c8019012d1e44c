"""The files of a study's folder: one record per job, each written as a whole when its job is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rayl2o.checkpoint import parse_json, replace_file
from rayl2o.errors import UserError
from rayl2o.study.job import Job

JOBS, PHI = "jobs", "phi"
OK, FAILED = "ok", "failed"
Record = dict[str, Any]
_STRICT: dict[str, Any] = {"allow_nan": False, "ensure_ascii": False}


def path_of(out: Path, job: Job) -> Path:
    """Where a job's record lies."""
    return out / JOBS / f"{job.name}.json"


def phi_of(out: Path, job: Job) -> Path:
    """Where its trained weights lie, if they are kept."""
    return out / PHI / job.name


def write_record(path: Path, record: Record) -> None:
    """Strict JSON, as a whole or not at all. Raises UserError if the disk refuses."""
    _write(path, json.dumps(record, indent=1, **_STRICT))


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """The same for a study's document; every job is a line, so that a page of changes can be read."""
    head = json.dumps({key: value for key, value in document.items() if key != "jobs"}, indent=1, **_STRICT)
    lines = ",\n".join(f"  {json.dumps(record, **_STRICT)}" for record in document["jobs"])
    _write(path, f'{head[:-2]},\n "jobs": [\n{lines}\n ]\n}}')


def _write(path: Path, text: str) -> None:
    replace_file(path, lambda file: file.write(f"{text}\n".encode()))


def read(path: Path) -> Record | None:
    """A record or a study's document; None if there is none.

    Raises:
        UserError: If the file is no JSON object: it was not written here.
    """
    if not path.is_file():
        return None
    try:
        data = parse_json(path.read_bytes())
    except ValueError as error:
        raise UserError(f"a file of the study is no JSON ({error})", value=str(path), mend="remove it") from error
    if not isinstance(data, dict):
        raise UserError("a file of the study is no JSON object", value=str(path), mend="remove it")
    return data


def kept(out: Path, job: Job) -> Record | None:
    """The record of a job that was done before, with the same config; None if it must be done (again)."""
    record = read(path_of(out, job))
    done = record is not None and record.get("status") == OK and record.get("sha256") == job.sha256
    return record if done else None
