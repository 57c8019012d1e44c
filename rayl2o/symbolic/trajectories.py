"""Full closed-loop trajectories of a rule at sampled coordinates: what goes in, what comes out. No graph, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Rule
from rayl2o.seeds import generator
from rayl2o.symbolic.runs import Runs, play

OVERSAMPLING = 4  # coordinates recorded per coordinate wanted: on images many inputs are dead


@dataclass(frozen=True)
class Trajectories:
    """N coordinates over U steps; a column belongs to one coordinate of one run.

    Attributes:
        grad: ``[U, N]``, what the rule saw; 0 from ``valid`` on.
        delta: ``[U, N]``, the displacement it answered with (the output of S before any scale of ours).
        valid: int64 ``[N]``, steps that count: fewer than U if the run diverged.
        tensor: int64 ``[N]``, index into ``tensors``.
        run: int64 ``[N]``, which of the runs, from 0.
        tensors: Names of the tensors.
        dead_share: Share of the recorded candidates that never saw a gradient and were left out.
        depths: Layer index by tensor, 0 at the input; empty where it is not known.
    """

    grad: Tensor
    delta: Tensor
    valid: Tensor
    tensor: Tensor
    run: Tensor
    tensors: tuple[str, ...]
    dead_share: float
    depths: tuple[int, ...] = ()

    @property
    def steps(self) -> int:
        """U."""
        return self.grad.shape[0]

    def cells(self) -> list[tuple[int, int]]:
        """(run, tensor) pairs that have a column, in order."""
        return sorted(set(zip(self.run.tolist(), self.tensor.tolist(), strict=True)))

    def columns(self, keep: Tensor) -> Trajectories:
        """The trajectories of the columns that a bool ``[N]`` keeps."""
        return replace(
            self,
            grad=self.grad[:, keep],
            delta=self.delta[:, keep],
            valid=self.valid[keep],
            tensor=self.tensor[keep],
            run=self.run[keep],
        )


def collect(
    rule: Rule, phi: Mapping[str, Tensor], runs: Runs, steps: int, per_tensor: int = 16, seed: int = 0
) -> Trajectories:
    """Runs the rule itself and records up to ``per_tensor`` live coordinates of each tensor in each run.

    Args:
        rule, phi: A coordinate-wise rule.
        runs: Which runs, all side by side.
        steps: U, the horizon.
        per_tensor: Coordinates per tensor and run (S records 10); tensors with fewer live coordinates give those they have.
        seed: Draws the coordinates.

    Raises:
        UserError: If the rule is not coordinate-wise, if every run diverged at once, or if nothing ever had a gradient.
    """
    if not rule.coordinatewise:
        raise UserError(
            "only coordinate-wise rules can be distilled",
            value=rule.kind,
            mend="distil dm, rnnprop or a rule like them",
        )
    layout = runs.build().layout
    candidates = torch.stack([_candidates(layout, per_tensor, seed, run) for run in runs.numbers])
    grads: list[Tensor] = []
    deltas: list[Tensor] = []

    def observe(step: int, grad: Tensor, delta: Tensor) -> None:
        del step
        grads.append(grad.gather(1, candidates))
        deltas.append(delta.gather(1, candidates))

    curves = play(rule, phi, runs, steps + 1, observe=observe)
    if not grads:
        raise UserError(
            "the rule diverged before its first step", value=rule.kind, mend="check its weights and the task"
        )
    # [U, K, C] to [U, K * C]; a run that reached the horizon alive has one loss more than updates.
    grad, delta = torch.stack(grads).flatten(1), torch.stack(deltas).flatten(1)
    width = candidates.shape[1]
    sound = curves.valid.long().clamp_max(len(grads)).repeat_interleave(width)
    valid = torch.minimum(sound, torch.isfinite(delta).cumprod(0).sum(0))
    counted = torch.arange(len(grads))[:, None] < valid
    everything = Trajectories(
        torch.where(counted, grad, 0.0),
        torch.where(counted, delta, 0.0),
        valid,
        layout.tensor_index()[candidates].flatten(),
        torch.tensor(runs.numbers).repeat_interleave(width),
        layout.names,
        0.0,
        layout.depths,
    )
    return _live(everything, per_tensor)


def _candidates(layout: Layout, per_tensor: int, seed: int, run: int) -> Tensor:
    """int64 ``[C]``: coordinates of every tensor in random order, without replacement, a few for each that is wanted."""
    draws = generator(seed, "symbolic", "coords", run)
    return torch.cat(
        [
            offset + torch.randperm(size, generator=draws)[: OVERSAMPLING * per_tensor]
            for offset, size in zip(layout.offsets, layout.sizes, strict=True)
        ]
    )


def _live(everything: Trajectories, per_tensor: int) -> Trajectories:
    """Leaves out dead coordinates, and whatever a tensor has beyond ``per_tensor`` in a run."""
    live = (everything.grad != 0).any(0)
    if not bool(live.any()):
        raise UserError(
            "no recorded coordinate ever had a gradient",
            value=int(live.numel()),
            mend="check the task's settings and data",
        )
    keep = live.clone()
    for run, tensor in everything.cells():
        inside = live & (everything.run == run) & (everything.tensor == tensor)
        keep &= ~(inside & (inside.cumsum(0) > per_tensor))
    return replace(everything.columns(keep), dead_share=float((~live).double().mean()))
