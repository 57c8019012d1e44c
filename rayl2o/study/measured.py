"""From a study's document to what was measured of its distilled rules: one value per meta-seed of each number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayl2o.study.job import KNOWN, TRAINING
from rayl2o.study.records import OK, Record

BEST, SOUND = "best", "sound"
"""Among all formulas; among those that no guard refuses."""
Values = tuple[float | None, ...]
"""One per meta-seed; None where there is none."""


@dataclass(frozen=True)
class Measured:
    """A trained arm, or a known rule.

    Attributes:
        label: Name of the arm, or the known rule as text.
        levels: Axis to level; empty for a known rule.
        seeds: Meta-seeds; empty for a known rule.
        records: What :func:`rayl2o.study.distilling.distilled` said, one per meta-seed; one of a known rule.
    """

    label: str
    levels: dict[str, str]
    seeds: tuple[int, ...]
    records: tuple[Record, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """What TPF is of."""
        return tuple(next(iter(self.records[0]["perception"].values())))

    def tpf(self, horizon: int) -> dict[str, Values]:
        """TPF by input."""
        return {name: tuple(one["perception"][str(horizon)][name] for one in self.records) for name in self.inputs}

    def complexity(self, mode: str, error: float, unit: str = "nodes") -> Values:
        """MC in nodes or inputs; None where no formula comes within the error."""
        found = (one["searches"][mode]["complexity"][f"{error:g}"] for one in self.records)
        return tuple(None if said is None else said[unit] for said in found)

    def best(self, mode: str, nodes: int, what: str = "r2_test", among: str = BEST) -> Values:
        """A number of the best formula of at most so many nodes, of all or of sound ones; None where there is none."""
        found = (one["searches"][mode][among][str(nodes)] for one in self.records)
        return tuple(None if said is None else said[what] for said in found)

    def cpu_s(self, mode: str) -> Values:
        """CPU seconds of the search."""
        return tuple(one["searches"][mode]["cpu_s"] for one in self.records)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data."""
        return {**vars(self), "inputs": self.inputs}


def measured(document: Mapping[str, Any]) -> list[Measured]:
    """Known rules, then trained arms in order; failed jobs are left out. Empty if nothing was distilled."""
    done = [record for record in document["jobs"] if record["status"] == OK and "distillation" in record]
    return [*_known(done), *_trained(done)]


def _known(done: Sequence[Record]) -> Iterator[Measured]:
    for record in done:
        if record["kind"] == KNOWN:
            yield Measured(record["rule"], {}, (), (record["distillation"],))


def _trained(done: Sequence[Record]) -> Iterator[Measured]:
    groups: dict[str, list[Record]] = {}
    for record in done:
        if record["kind"] == TRAINING:
            groups.setdefault(record["arm"], []).append(record)
    for name, group in groups.items():
        seeds = tuple(record["seed"] for record in group)
        yield Measured(name, group[0]["levels"], seeds, tuple(record["distillation"] for record in group))


def spread(values: Values, digits: int = 2) -> str:
    """Mean, and from where to where the values go, such as ``7.10 (6.82 to 7.51)``; how many there are if not all."""
    there = [value for value in values if value is not None]
    if not there:
        return "none"
    text = f"{np.mean(there):.{digits}f}"
    if len(there) > 1 and min(there) != max(there):
        text += f" ({min(there):.{digits}f} to {max(there):.{digits}f})"
    return text if len(there) == len(values) else f"{text}, {len(there)} of {len(values)}"
