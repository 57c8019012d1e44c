"""Learned rules that are distilled in benchmarks: the published ones, where ``$RAYL2O_DATA`` has them, and two of our own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rayl2o.config import load
from rayl2o.errors import UserError
from rayl2o.meta.rounds import finished, fresh_state, result, run_round
from rayl2o.rules.base import Phi, Rule
from rayl2o.rules.published import import_weights
from rayl2o.tasks.datasets.folder import data_root

PUBLISHED: Mapping[str, str] = MappingProxyType({"RNNprop-CL-IL": "rnnprop_cl_il", "DM-CL-IL": "dm_cl_il", "DM": "dm"})
"""File by name."""
OWN: Mapping[str, str] = MappingProxyType({"own RP(small)": "rp-small", "own DM": "dm"})
"""Preset by name; trained from its own seed, so that the rule is the same in every run on this kind of processor."""


@dataclass(frozen=True)
class Subject:
    """A rule with weights.

    Attributes:
        name: In tables.
        rule, phi: It.
        data: What it was trained on, and is distilled and run on.
    """

    name: str
    rule: Rule
    phi: Phi
    data: str = "digits"

    @property
    def is_rp(self) -> bool:
        """Whether it is fed RNNprop's features; else it is DM-like."""
        return self.rule.kind.startswith("rnnprop")


def published() -> Iterator[Subject]:
    """Those whose file is there."""
    try:
        folder = data_root("l2o-checkpoints") / "l2o-checkpoints"
    except UserError:
        return
    for name, file in PUBLISHED.items():
        path = folder / f"{file}.safetensors"
        if path.is_file():
            yield Subject(name, *import_weights(path), "mnist")


def own(updates: int | None = None) -> Iterator[Subject]:
    """Trained here, a minute each; ``updates`` shortens that for tests."""
    for name, preset in OWN.items():
        yield trained(name, preset, updates)


def trained(name: str, preset: str, updates: int | None = None) -> Subject:
    """A preset's rule, trained in this process."""
    config = load(preset, () if updates is None else (f"updates={updates}",))
    rule, family = config.make_rule(), config.make_family()
    state = fresh_state(rule, family, config, "sr")
    while not finished(config, state):
        state, _ = run_round(rule, family, config, state)
    return Subject(name, config.exported_rule(), result(config, state))
