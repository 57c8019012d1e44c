"""What a roll-out needs besides phi: the ticket (fixed at trajectory start) and the slot's state (carried between segments)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rayl2o.rules.base import State
from rayl2o.tasks.base import TaskSpec
from rayl2o.unroll.segment import BEHAVIOURS, STUDENT, TEACHER, Segment


@dataclass(frozen=True)
class Ticket:
    """One trajectory of one slot. With the versions of phi it determines every number of the trajectory.

    Attributes:
        run_id, run_seed: The run; every draw derives from ``run_seed``.
        slot, ordinal: Which slot, and its how-manieth trajectory (from 0).
        specs: The K tasks, side by side.
        n_train: Inner steps until the trajectory ends.
        behaviour: ``student``, ``teacher`` (the whole trajectory is the first teacher's; T, Algorithm 2) or ``mix``
            (self-improving: drawn per step and instance).
        teachers: Classic rules as text (``adam:lr=0.01``); the i-th acts where ``actor`` is i + 1.
        teacher_share: In a mix, the probability that a teacher acts.
        teacher_weights: How likely each teacher is then, up to a factor; empty means alike.
    """

    run_id: str
    run_seed: int
    slot: int
    ordinal: int
    specs: tuple[TaskSpec, ...]
    n_train: int
    behaviour: str = STUDENT
    teachers: tuple[str, ...] = ()
    teacher_share: float = 0.0
    teacher_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.behaviour not in BEHAVIOURS:
            raise ValueError(f"behaviour must be one of {BEHAVIOURS}, got {self.behaviour!r}")
        if self.behaviour != STUDENT and not self.teachers:
            raise ValueError(f"behaviour {self.behaviour!r} needs at least one teacher, got none")
        if self.behaviour == TEACHER and len(self.teachers) != 1:
            raise ValueError(f"a teacher's trajectory has one teacher, got {self.teachers}")
        if self.teacher_weights and len(self.teacher_weights) != len(self.teachers):
            raise ValueError(f"one weight per teacher, got {self.teacher_weights} for {self.teachers}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON-able data; :meth:`from_json` reads it back."""
        return {
            "run_id": self.run_id,
            "run_seed": self.run_seed,
            "slot": self.slot,
            "ordinal": self.ordinal,
            "specs": [spec.to_json() for spec in self.specs],
            "n_train": self.n_train,
            "behaviour": self.behaviour,
            "teachers": list(self.teachers),
            "teacher_share": self.teacher_share,
            "teacher_weights": list(self.teacher_weights),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Ticket:
        """Inverse of :meth:`to_json`."""
        specs = tuple(TaskSpec.from_json(spec) for spec in data["specs"])
        weights = tuple(data.get("teacher_weights", ()))  # older checkpoints have none
        return cls(**{**data, "specs": specs, "teachers": tuple(data["teachers"]), "teacher_weights": weights})


@dataclass(frozen=True)
class SlotState:
    """Where a trajectory stands at a segment boundary.

    Attributes:
        params: ``[K, D]``. Under ``pes`` all fields have K P rows, one per particle (:mod:`rayl2o.meta.evolution`).
        rule_state: The student's state; it listens at every step whoever acts.
        teacher_states: One state per teacher of the ticket.
        grad, loss: ``[K, D]`` and ``[K]`` at ``params`` on the minibatch of ``step``: the last evaluation of one segment is the
            first of the next.
        first_loss: ``[K]`` at the fresh initialisation.
        alive: bool ``[K]``; False once an instance has diverged.
        step: Inner steps done.
        segment: Windows done.
        pending: Segments that wait for their credit (:mod:`rayl2o.unroll.horizon`), oldest first, with all coordinates.
    """

    params: Tensor
    rule_state: State
    teacher_states: tuple[State, ...]
    grad: Tensor
    loss: Tensor
    first_loss: Tensor
    alive: Tensor
    step: int
    segment: int
    pending: tuple[Segment, ...] = ()

    def stopped(self, ticket: Ticket) -> bool:
        """Whether no window follows: it is at its horizon, or every instance has diverged."""
        return self.step >= ticket.n_train or not bool(self.alive.any())

    def finished(self, ticket: Ticket) -> bool:
        """Whether the trajectory is over: no window follows, and no segment waits."""
        return not self.pending and self.stopped(ticket)
