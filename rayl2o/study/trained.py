"""Trained weights kept in a study's folder, so that what is measured of them can be changed without training again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rayl2o.checkpoint import Checkpoint, load_newest, save
from rayl2o.config import RunConfig
from rayl2o.errors import UserError
from rayl2o.study.definition import Snapshots
from rayl2o.study.training import Mark, Snapshot, train

_DIGEST, _SNAPSHOTS = "training", "snapshots"


def trained(config: RunConfig, snapshots: Snapshots, run_id: str, folder: Path, digest: str) -> list[Snapshot]:
    """As :func:`rayl2o.study.training.train`; what was kept with the same digest is read instead.

    Args:
        config, snapshots, run_id: As there.
        folder: Where this training's snapshots are kept, as one checkpoint.
        digest: Of all that decides them.

    Raises:
        UserError: If the disk refuses.
    """
    found = _kept(folder, digest)
    if found is not None:
        return found
    taken = train(config, snapshots, run_id)
    save(folder, 0, _tensors(taken), {_DIGEST: digest, _SNAPSHOTS: [_described(one) for one in taken]})
    return taken


def _kept(folder: Path, digest: str) -> list[Snapshot] | None:
    """None if there is nothing, nothing whole, or what was trained otherwise."""
    try:
        checkpoint, _ = load_newest(folder)
    except UserError:
        return None
    if checkpoint.meta.get(_DIGEST) != digest:
        return None
    return [_snapshot(checkpoint, i, said) for i, said in enumerate(checkpoint.meta[_SNAPSHOTS])]


def _tensors(taken: Sequence[Snapshot]) -> dict[str, Any]:
    return {f"{i}.{name}": value for i, one in enumerate(taken) for name, value in one.phi.items()}


def _described(one: Snapshot) -> dict[str, Any]:
    return {
        "mark": asdict(one.mark),
        "round": one.round,
        "cpu_s": one.cpu_s,
        "inner_steps": one.inner_steps,
        "skipped": one.skipped,
    }


def _snapshot(checkpoint: Checkpoint, i: int, said: Mapping[str, Any]) -> Snapshot:
    own = f"{i}."
    phi = {name.removeprefix(own): value for name, value in checkpoint.tensors.items() if name.startswith(own)}
    return Snapshot(**{**said, "mark": Mark(**said["mark"]), "phi": phi})
