"""What ``distill`` wrote, read back strictly: the front, the columns beside it, pictures; older files have less of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayl2o.checkpoint import parse_json
from rayl2o.errors import UserError, unknown_name
from rayl2o.evaluate.front_data import Column, NetworkMarks
from rayl2o.rules.operands import plain
from rayl2o.symbolic.candidate import Candidate
from rayl2o.symbolic.front import Front
from rayl2o.symbolic.pictures import Pictures

FRONT = "front.json"
COLUMNS = ("network", "distilled", "gained", "tuned")
SORTS = ("nodes", "r2", "loss", "buffers")
_MEND = "name a folder that 'rayl2o distill' wrote"


@dataclass(frozen=True)
class FrontDocument:
    """A distillation as its file tells it.

    Attributes:
        front: Candidates, and those refused.
        selected: The candidate that was chosen; None if the file holds a bare front.
        columns: Network, distilled, gained and tuned, as far as they were made.
        network: What stands beside the front's points.
        pictures: Curves and traces; empty in older files.
        measures: TPF and MC as written.
        card: Rule, task, horizon and seed as written.
        seconds: Wall seconds by stage as written.
    """

    front: Front
    selected: Candidate | None = None
    columns: tuple[Column, ...] = ()
    network: NetworkMarks = field(default_factory=NetworkMarks)
    pictures: Pictures = field(default_factory=Pictures)
    measures: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, Any] = field(default_factory=dict)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All candidates with their numbers: first the front by complexity, then those refused."""
        chosen = None if self.selected is None else self.selected.expression
        members = [Entry(i, c, c.expression == chosen) for i, c in enumerate(self.front.candidates)]
        count = len(members)
        return (*members, *(Entry(count + i, c, False) for i, c in enumerate(self.front.refused)))


@dataclass(frozen=True)
class Entry:
    """A candidate with the number by which it is picked, and whether it is the selected one."""

    index: int
    candidate: Candidate
    selected: bool


def read_front(folder: Path) -> FrontDocument:
    """The distillation in a folder, or in a file.

    Raises:
        UserError: If the file is missing or not what ``distill`` writes.
    """
    path = folder / FRONT if folder.is_dir() else folder
    try:
        data = parse_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the front ({error.strerror})", value=str(path), mend=_MEND) from error
    except ValueError as error:
        raise UserError(f"the front is not JSON ({error})", value=str(path), mend=_MEND) from error
    if isinstance(data, dict) and {"candidates", "refused"} <= data.keys():
        return FrontDocument(Front.from_json(data))
    if not isinstance(data, dict) or any(name not in data for name in ("front", "selected", *COLUMNS)):
        raise UserError("the file holds no distillation", value=str(path), mend=_MEND)
    return front_document(data)


def front_document(data: Mapping[str, Any]) -> FrontDocument:
    """From the JSON of a distillation.

    Raises:
        UserError: If a part is not what ``distill`` writes.
    """
    columns = columns_of(data)
    measures, card, seconds = (_mapping(data.get(name, {}), name) for name in ("measures", "card", "seconds"))
    own = next((column for column in columns if column.name == "network"), None)
    return FrontDocument(
        Front.from_json(data.get("front")),
        Candidate.from_json(data.get("selected")),
        columns,
        NetworkMarks(None, (), network_tpf(measures))
        if own is None
        else NetworkMarks(own.mean_loss, own.losses, network_tpf(measures)),
        Pictures.from_json(data.get("pictures")),
        measures,
        card,
        seconds,
    )


def columns_of(data: Mapping[str, Any]) -> tuple[Column, ...]:
    """Network, distilled, gained and tuned, without those that were turned off.

    Raises:
        UserError: If a column is not what ``distill`` writes.
    """
    found = []
    for name in COLUMNS:
        if data.get(name) is None:
            continue
        column = _mapping(data[name], name)
        own = name == "network"
        mean, losses, diverged = _score(column if own else column.get("score"), name)
        unseen = data.get("network_held_out") if own else column.get("held_out")
        held_out, runs, lost = (None, (), 0) if unseen is None else _score(unseen, f"{name}.held_out")
        trail = () if unseen is None else _trail(unseen.get("trail", []), name)
        r2 = None if column.get("r2") is None else _number(column["r2"], f"{name}.r2")
        buffers = None if column.get("buffers") is None else _count(column["buffers"], f"{name}.buffers")
        found.append(Column(name, mean, losses, diverged, r2, buffers, held_out, runs, lost, trail))
    return tuple(found)


def _score(data: object, what: str) -> tuple[float, tuple[float, ...], int]:
    """Mean loss, losses run by run (none in older files), diverged runs."""
    score = _mapping(data, what)
    runs = score.get("per_run", [])
    if not isinstance(runs, list | tuple):
        raise UserError(f"{what}.per_run of a distillation must be a list", value=plain(runs), mend="distil again")
    losses = tuple(_number(run, f"{what}.per_run") for run in runs)
    return _number(score.get("mean_loss"), f"{what}.mean_loss"), losses, _count(score.get("diverged", 0), what)


def _trail(data: object, what: str) -> tuple[tuple[float, ...], ...]:
    """Step, lower quartile, median and upper quartile, point by point."""
    points: Sequence[Any] = data if isinstance(data, list | tuple) else [None]
    if not all(isinstance(point, list | tuple) and len(point) == 4 for point in points):
        raise UserError(f"the learning curve of {what} must hold points of 4 numbers", value=what, mend="distil again")
    return tuple(tuple(_number(value, f"{what}.trail") for value in point) for point in points)


def network_tpf(measures: Mapping[str, Any]) -> dict[str, float]:
    """Mean lag of the network by input, from the measures of a distillation: its features, else its gradient.

    Raises:
        UserError: If one is no number.
    """
    features = _mapping(measures.get("network_signal_tpf") or {}, "network_signal_tpf")
    if features:
        return {name: _number(value, "network_signal_tpf") for name, value in features.items()}
    whole = measures.get("network_tpf")
    return {} if whole is None else {"g": _number(whole, "network_tpf")}


def listed(
    document: FrontDocument, sort: str = "nodes", engine: str | None = None, refused: bool = False
) -> list[Entry]:
    """The candidates that are asked for, in the order that is asked for; what was not run in closed loop stands last by loss.

    Raises:
        UserError: On an unknown order, or an engine that found none of them.
    """
    if sort not in SORTS:
        raise unknown_name("order", sort, SORTS)
    entries = [entry for entry in document.entries if refused or not entry.candidate.refused]
    engines = {entry.candidate.engine for entry in document.entries}
    if engine is not None and engine not in engines:
        raise unknown_name("engine of this front", engine, engines)
    kept = [entry for entry in entries if engine is None or entry.candidate.engine == engine]
    return sorted(kept, key=lambda entry: (*_rank(entry.candidate, sort), entry.index))


def _rank(candidate: Candidate, sort: str) -> tuple[float, ...]:
    if sort == "r2":
        score = candidate.r2
        return (-score if score == score else float("inf"),)
    if sort == "loss":
        loss = candidate.closed_loop
        return (candidate.diverged, float("inf") if loss is None or loss != loss else loss)
    if sort == "buffers":
        return (candidate.buffers, candidate.complexity)
    return (candidate.complexity,)


def _mapping(data: object, what: str) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise UserError(f"{what} of a distillation must be a JSON object", value=plain(data), mend="distil again")
    return data


def _count(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1e15:
        raise UserError(f"{what} of a distillation counts something", value=plain(value), mend="distil again")
    return value


def _number(value: object, what: str) -> float:
    """A number; null stands for one that is not finite."""
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise UserError(f"{what} of a distillation must be a number", value=plain(value), mend="distil again")
    return float(value)
