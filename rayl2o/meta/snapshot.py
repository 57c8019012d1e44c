"""A training state as named tensors plus JSON, and back, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.meta.average import Average
from rayl2o.meta.curriculum import CurriculumState
from rayl2o.meta.learner import LearnerState
from rayl2o.meta.replay import Kept, ReplayState
from rayl2o.meta.segment_snapshot import segment_json, segment_of, segment_tensors
from rayl2o.meta.training import TrainState
from rayl2o.unroll.segment import Segment
from rayl2o.unroll.ticket import SlotState, Ticket

_SLOT_TENSORS = ("params", "grad", "loss", "first_loss", "alive")
_COUNTERS = ("updates", "skipped", "in_a_row", "rollbacks", "zeroed")


def dump(state: TrainState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by path (``phi/NAME``, ``slot/0/params``, ...) and JSON-able metadata.

    Of replayed segments only the bookkeeping is in it: they lie in files of their own (:mod:`rayl2o.meta.replay_files`).
    """
    learner = state.learner
    tensors: dict[str, Tensor] = {}
    slots: list[dict[str, Any]] = []
    tensors |= _prefixed("phi", learner.phi) | _prefixed("anchor", learner.anchor) | _prefixed("best", state.best)
    for name, optimizer in learner.optimizers.items():
        tensors |= _prefixed(f"optimizer/{name}", optimizer)
    tensors |= _prefixed("average", learner.average.phi)
    for version, phi in state.history.items():
        tensors |= _prefixed(f"history/{version}", phi)
    for i, (ticket, slot_state) in enumerate(state.slots):
        slots.append({"ticket": ticket.to_json(), "state": None})
        if slot_state is not None:
            slots[-1]["state"] = {
                "step": slot_state.step,
                "segment": slot_state.segment,
                "pending": [segment_json(segment) for segment in slot_state.pending],
            }
            for j, segment in enumerate(slot_state.pending):
                tensors |= _prefixed(f"slot/{i}/pending/{j}", segment_tensors(segment))
            tensors |= {f"slot/{i}/{name}": getattr(slot_state, name) for name in _SLOT_TENSORS}
            tensors |= _prefixed(f"slot/{i}/rule", slot_state.rule_state)
            for j, teacher in enumerate(slot_state.teacher_states):
                tensors |= _prefixed(f"slot/{i}/teacher/{j}", teacher)
    counters = {name: getattr(learner, name) for name in _COUNTERS}
    curriculum = asdict(state.curriculum)
    curriculum["best"] = None if math.isinf(state.curriculum.best) else state.curriculum.best
    meta = {
        "learner": counters,
        "averaged": learner.average.updates,
        "optimizers": list(learner.optimizers),
        "curriculum": curriculum,
        "versions": list(state.history),
        "slots": slots,
        "round": state.round,
        "inner_steps": state.inner_steps,
        "replay": {
            "entries": [{"key": kept.key, "uses": kept.uses} for kept in state.replay.entries],
            "drops": state.replay.drops,
        },
        "scores": [[r, stage, None if math.isnan(score) else score] for r, stage, score in state.scores],
    }
    return tensors, meta


def restore(tensors: Mapping[str, Tensor], meta: Mapping[str, Any], replayed: Sequence[Segment] = ()) -> TrainState:
    """Inverse of :func:`dump`; ``replayed`` are the replayed segments, in the order of their entries.

    Raises:
        UserError: If the metadata, the tensors or the segments do not describe a training state.
    """
    try:
        learner = LearnerState(
            phi=_under(tensors, "phi"),
            anchor=_under(tensors, "anchor"),
            optimizers={name: _under(tensors, f"optimizer/{name}") for name in meta["optimizers"]},
            # Checkpoints of older versions know of no average, and of fewer counters.
            average=Average(_under(tensors, "average"), int(meta.get("averaged", 0))),
            **{name: int(value) for name, value in meta["learner"].items()},
        )
        curriculum = dict(meta["curriculum"])
        curriculum["best"] = math.inf if curriculum["best"] is None else float(curriculum["best"])
        return TrainState(
            learner=learner,
            curriculum=CurriculumState(**curriculum),
            best=_under(tensors, "best"),
            slots=tuple(_slot(tensors, i, slot) for i, slot in enumerate(meta["slots"])),
            history={int(v): _under(tensors, f"history/{v}") for v in meta["versions"]},
            round=int(meta["round"]),
            inner_steps=int(meta["inner_steps"]),
            scores=tuple((int(r), int(s), math.nan if x is None else float(x)) for r, s, x in meta["scores"]),
            replay=_replay(meta.get("replay"), replayed),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            "the checkpoint does not hold a training state", value=str(error), mend="resume from another checkpoint"
        ) from error


def _replay(meta: Mapping[str, Any] | None, segments: Sequence[Segment]) -> ReplayState:
    """None: of a state that knew of no replay."""
    if meta is None:
        return ReplayState()
    entries = tuple(
        Kept(segment, int(entry["uses"]), int(entry["key"][0]))
        for entry, segment in zip(meta["entries"], segments, strict=True)
    )
    for kept, entry in zip(entries, meta["entries"], strict=True):
        if list(kept.key) != list(entry["key"]):
            raise ValueError(f"replayed segment {list(kept.key)} stands where {entry['key']} should")
    return ReplayState(entries, {str(reason): int(count) for reason, count in meta["drops"].items()})


def _slot(tensors: Mapping[str, Tensor], i: int, slot: Mapping[str, Any]) -> tuple[Ticket, SlotState | None]:
    ticket = Ticket.from_json(slot["ticket"])
    if slot["state"] is None:
        return ticket, None
    own = _under(tensors, f"slot/{i}")
    # Checkpoints of older versions know of no first loss, which none of their meta-losses needs, and of nothing that waits.
    own.setdefault("first_loss", own["loss"])
    state = SlotState(
        **{name: own[name] for name in _SLOT_TENSORS},
        rule_state=_under(own, "rule"),
        teacher_states=tuple(_under(own, f"teacher/{j}") for j in range(len(ticket.teachers))),
        step=int(slot["state"]["step"]),
        segment=int(slot["state"]["segment"]),
        pending=tuple(
            segment_of(_under(own, f"pending/{j}"), data) for j, data in enumerate(slot["state"].get("pending", ()))
        ),
    )
    return ticket, state


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
