"""``status.json``: what the process of a run last said of itself, as strict JSON. The only place that names its fields."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rayl2o.checkpoint import parse_json
from rayl2o.errors import shorten
from rayl2o.follow.identity import ProcessId
from rayl2o.telemetry import Progress, WorkersView

STATUS = "status.json"
SCHEMA_VERSION = 1
RUNNING = "running"
ENDS = ("finished", "converged", "failed", "interrupted")

_LIMIT = 4 * 2**20


@dataclass(frozen=True)
class Record:
    """The last word of a run's process.

    Attributes:
        state: ``running`` while it lives; at its end one of :data:`ENDS`.
        runtime: ``inline``, ``local`` or ``cluster``.
        process: Who it is.
        updated: When this was written, seconds since 1970.
        pace_s, pause_s: Mean and longest time between two rounds of this process, seconds; 0 before the second.
        progress: Of the last round; None before the first.
        recent: (round, loss) of the last rounds.
        error: What ended it, one line.
    """

    state: str
    runtime: str
    process: ProcessId
    updated: float
    pace_s: float = 0.0
    pause_s: float = 0.0
    progress: Progress | None = None
    recent: tuple[tuple[int, float], ...] = ()
    error: str | None = None


def dump_record(record: Record) -> bytes:
    """A record as the bytes of a file; numbers that are not finite become null."""
    data = {"schema_version": SCHEMA_VERSION, **asdict(record)}
    return (json.dumps(_strict(data), allow_nan=False) + "\n").encode()


def parse_record(data: bytes) -> Record:
    """A record from the bytes of a file.

    Raises:
        ValueError: If it is none, with the reason.
    """
    found = _Fields(parse_json(data))
    if found.integer("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"schema_version {found.integer('schema_version')} is unknown")
    state = found.text("state")
    if state not in (RUNNING, *ENDS):
        raise ValueError(f"state {shorten(state)} is unknown")
    progress, error = found.value("progress"), found.value("error")
    return Record(
        state=state,
        runtime=found.text("runtime"),
        process=_process(_Fields(found.value("process"))),
        updated=_seconds(found, "updated"),
        pace_s=_seconds(found, "pace_s"),
        pause_s=_seconds(found, "pause_s"),
        progress=None if progress is None else _progress(_Fields(progress)),
        recent=tuple(_recent(item) for item in found.items("recent")),
        error=None if error is None else found.text("error"),
    )


def read_record(out: Path) -> Record | str | None:
    """The record in a run's folder; why it cannot be read; None if there is no such file."""
    path = out / STATUS
    try:
        if path.stat().st_size > _LIMIT:
            return f"{STATUS} is larger than {_LIMIT} bytes"
        return parse_record(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{STATUS} cannot be read: {error.strerror}"
    except ValueError as error:
        return f"{STATUS} is not a status of rayl2o: {error}"


class _Fields:
    """A JSON object whose fields are taken by type; a field of another type is a ValueError that names it."""

    def __init__(self, data: object) -> None:
        if not isinstance(data, dict):
            raise ValueError(f"{shorten(data)} is not an object")
        self._data: dict[str, Any] = data

    def value(self, name: str) -> Any:
        if name not in self._data:
            raise ValueError(f"{name!r} is missing")
        return self._data[name]

    def _typed(self, name: str, kind: type | tuple[type, ...]) -> Any:
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, kind):
            raise ValueError(f"{name!r} is {shorten(value)}")
        return value

    def text(self, name: str) -> str:
        return str(self._typed(name, str))

    def integer(self, name: str) -> int:
        return _bounded(self._typed(name, int))

    def number(self, name: str) -> float:
        """A number; not a number where null stands."""
        value = self._typed(name, (int, float, type(None)))
        return math.nan if value is None else float(_bounded(value) if isinstance(value, int) else value)

    def items(self, name: str) -> list[Any]:
        return list(self._typed(name, list))

    def numbers(self, name: str) -> dict[str, float]:
        fields = self.inside(name)
        return {key: fields.number(key) for key in fields._data}

    def integers(self, name: str) -> dict[str, int]:
        fields = self.inside(name)
        return {key: fields.integer(key) for key in fields._data}

    def inside(self, name: str) -> _Fields:
        return _Fields(self.value(name))


def _process(data: _Fields) -> ProcessId:
    pid = data.integer("pid")
    if pid < 1:
        raise ValueError(f"'pid' is {pid}")
    texts = {name: data.text(name) for name in ("host", "machine", "boot", "space")}
    return ProcessId(pid=pid, started=data.integer("started"), **texts)


def _progress(data: _Fields) -> Progress:
    workers = data.value("workers")
    counts = {name: data.integer(name) for name in ("round", "updates", "stage", "stages", "horizon", "inner_steps")}
    return Progress(
        **counts,
        seconds=data.number("seconds"),
        inner_steps_per_s=data.number("inner_steps_per_s"),
        metrics=data.numbers("metrics"),
        runtime=data.text("runtime"),
        workers=None if workers is None else _workers(_Fields(workers)),
    )


def _workers(data: _Fields) -> WorkersView:
    return WorkersView(
        alive=data.integer("alive"),
        wanted=data.integer("wanted"),
        restarts=data.integers("restarts"),
        in_flight=data.integer("in_flight"),
        staleness={_bounded(int(versions)): count for versions, count in data.integers("staleness").items()},
        drops=data.integers("drops"),
        rerun=data.integer("rerun"),
        quarantined=tuple(str(item) for item in data.items("quarantined")),
        learner_idle=data.number("learner_idle"),
    )


def _recent(item: object) -> tuple[int, float]:
    if not isinstance(item, list) or len(item) != 2:
        raise ValueError(f"'recent' holds {shorten(item)}")
    pair = _Fields({"round": item[0], "loss": item[1]})
    return pair.integer("round"), pair.number("loss")


def _seconds(data: _Fields, name: str) -> float:
    """Seconds that a calendar can hold."""
    value = data.number(name)
    if not 0 <= value < 1e11:
        raise ValueError(f"{name!r} is {value}")
    return value


def _bounded(value: int) -> int:
    if abs(value) >= 2**63:
        raise ValueError(f"{shorten(value)} is too large")
    return value


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
