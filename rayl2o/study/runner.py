"""Does a study's jobs, those that are not done yet, and gathers all numbers in one document."""

from __future__ import annotations

import json
import platform
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayl2o.errors import UserError
from rayl2o.evaluate.pmap import ParallelMap
from rayl2o.folder import scope
from rayl2o.study.arms import digest
from rayl2o.study.definition import Study, plain, written
from rayl2o.study.job import Job, jobs
from rayl2o.study.records import FAILED, OK, Record, kept, path_of, phi_of, write_record

TRACE = "traceback"
"""Stays in the job's own file: it names paths of this machine."""


@dataclass(frozen=True)
class _Order:
    """A job and the study's folder."""

    job: Job
    out: Path


def finished(study: Study, out: Path, pmap: ParallelMap = map) -> Iterator[Record]:
    """The records of all jobs of a study: first those that are there, then the others as they are done, lazily.

    A record is written by the process that did the job, as soon as it is done: a killed study loses what it was doing and
    nothing else. Records with the same config are kept; failed jobs are done again. A job that fails does not stop the others.

    Args:
        study: What to do.
        out: The study's folder.
        pmap: An ordered map; see :mod:`rayl2o.evaluate.pmap`.

    Raises:
        UserError: As :func:`rayl2o.study.job.jobs`, if the disk refuses, or if a worker process died.
    """
    todo = []
    for job in jobs(study):
        record = kept(out, job)
        if record is None:
            todo.append(_Order(job, out))
        else:
            yield record
    try:
        yield from pmap(_perform, todo)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process died in the middle of a job",
            value=str(error),
            mend="run the same command again: finished jobs are kept",
        ) from error


def document(name: str, study: Study, records: Iterable[Record]) -> dict[str, Any]:
    """All numbers of a study: ``study``, ``question``, ``definition`` and a ``sha256`` of it, ``made_with``, ``failed`` (names of
    jobs), ``jobs`` (their records, in the order of the jobs)."""
    place = {job.name: i for i, job in enumerate(jobs(study))}
    ordered = sorted(records, key=lambda record: place[record["job"]])
    return {
        "study": name,
        "question": study.question,
        "definition": plain(study),
        "sha256": digest(written(study)),
        "made_with": {"python": platform.python_version(), **scope()},
        "failed": [record["job"] for record in ordered if record["status"] == FAILED],
        "jobs": [{key: value for key, value in record.items() if key != TRACE} for record in ordered],
    }


def _perform(order: _Order) -> Record:
    job = order.job
    record: Record = {"job": job.name, "sha256": job.sha256, **job.header()}
    try:
        record |= {"status": OK, **job.perform(phi_of(order.out, job))}
        json.dumps(record, allow_nan=False)  # a number that is none fails this job, not the study
    except Exception as error:  # whatever a job runs into, the others go on
        message = f"{type(error).__name__}: {error}"
        record = {"job": job.name, "sha256": job.sha256, **job.header()}
        record |= {"status": FAILED, "error": message, TRACE: traceback.format_exc()}
    write_record(path_of(order.out, job), record)
    return record
