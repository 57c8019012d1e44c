"""The record of one unroll of one slot: the only thing that roll-outs hand to the learner."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

OK, DIVERGED = "ok", "diverged"
STUDENT, TEACHER, MIX = "student", "teacher", "mix"
BEHAVIOURS = (STUDENT, TEACHER, MIX)


@dataclass(frozen=True)
class Provenance:
    """Where a segment comes from, so that it can be recomputed alone and refused if it is a ghost's.

    Attributes:
        run_id: The run.
        family: Registered name of the task family.
        specs: JSON text of the K task specs.
        seed: The run's seed.
        slot, ordinal, segment: Which slot, its how-manieth trajectory, its how-manieth segment (all from 0).
        start_step: Inner step of the segment's first gradient (0 at a fresh initialisation).
        policy_version: Version of phi that acted.
        worker, incarnation, attempt: Fencing against results of dead workers; 0 inline.
        behaviour: ``student``, ``teacher`` (a whole trajectory is a teacher's) or ``mix`` (drawn per step).
    """

    run_id: str
    family: str
    specs: tuple[str, ...]
    seed: int
    slot: int
    ordinal: int
    segment: int
    start_step: int
    policy_version: int
    behaviour: str
    worker: int = 0
    incarnation: int = 0
    attempt: int = 0


@dataclass(frozen=True)
class Segment:
    """U steps of K instances, recorded at C coordinates each (C = D if all are kept).

    Attributes:
        source: Provenance, shared by the K rows.
        status: ``ok`` or ``diverged`` per instance.
        valid: int32 ``[K]``, inner steps that count (0..U); columns from ``valid`` on are zero in grad, credit and delta.
        loss: ``[K, U+1]`` minibatch loss at params[0..U], in the task's unit; not finite values stand as they came.
        coords: int32 ``[K, C]`` coordinate indices; 0 where padded.
        weight: ``[K, C]`` importance weights, 0 where padded: sum_c weight[c] x[c] is an unbiased estimate of sum_d x[d].
        grad, credit, delta: ``[K, U, C]`` the gradient g[s], the credit c[s] of design.md section 3, the displacement made.
        actor: int8 ``[K, U]`` who acted: 0 the student, i the i-th teacher of the ticket.
        coord_state: ``[K, C, S]`` the student's state before the first step.
        tensor_state, global_state, params: ``[K, T, S2]``, ``[K, S3]``, ``[K, D]`` at the first step, where a rule needs them.
    """

    source: Provenance
    status: tuple[str, ...]
    valid: Tensor
    loss: Tensor
    coords: Tensor
    weight: Tensor
    grad: Tensor
    credit: Tensor
    delta: Tensor
    actor: Tensor
    coord_state: Tensor
    tensor_state: Tensor | None = None
    global_state: Tensor | None = None
    params: Tensor | None = None

    @property
    def k(self) -> int:
        """Number of instances (rows)."""
        return self.loss.shape[0]

    @property
    def steps(self) -> int:
        """U, inner steps per segment."""
        return self.grad.shape[1]

    @property
    def key(self) -> tuple[int, int, int]:
        """(slot, ordinal, segment): the order in which the learner concatenates."""
        return (self.source.slot, self.source.ordinal, self.source.segment)

    def at(self, coords: Tensor, weight: Tensor) -> Segment:
        """Of a segment that has all coordinates in order: the one that keeps ``coords [K, C]`` with ``weight [K, C]``."""
        index, states = coords.long(), self.coord_state
        columns = {
            name: getattr(self, name).gather(2, index[:, None].expand(-1, self.steps, -1))
            for name in ("grad", "credit", "delta")
        }
        state = states.gather(1, index[..., None].expand(-1, -1, states.shape[-1]))
        return replace(self, coords=coords, weight=weight, coord_state=state, **columns)

    def nbytes(self) -> int:
        """Bytes of all tensors, as they would cross a process."""
        tensors = (v for v in vars(self).values() if isinstance(v, torch.Tensor))
        return sum(t.numel() * t.element_size() for t in tensors)
