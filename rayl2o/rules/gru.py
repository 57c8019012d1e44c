"""The GRU optimizer (Maheswaranathan et al. 2021, paper R): a GRU per coordinate, linear readout, learned initial state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError, unknown_name
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Phi, State, step_through
from rayl2o.rules.gru_cell import GruCell
from rayl2o.rules.gru_unroll import unroll_gru
from rayl2o.rules.lstm_unroll import unrollable
from rayl2o.rules.packing import pack, unpack

LINEAR, LOG1P = "linear", "log1p"
_FEATURES = {LINEAR: 1, LOG1P: 2}


@dataclass(frozen=True)
class Gru:
    """The GRU optimizer of R: ``delta = output_scale (w . h' + b)`` with ``h' = gru(h, x(g))``, for one coordinate at a time.

    The gradient is all it sees. The readout starts at 0, so the untrained rule stands still. The state before the first step
    is a weight, ``gru.h0`` (0 at start): at step 0 the rule reads it from phi, whatever state is handed in, so that its gradient
    is found by every estimator and a learner with a newer phi starts from the newer h0. R trains it with second derivatives
    (``unroll.credit: exact``). Paper and code agree; the widths and scales per task are in neither (the notebook for the
    quadratic has 64 and an output scale of 1; the code's default scale is 1e-3).

    ``coord [..., hidden]`` holds h: 256 bytes per coordinate in float32 at width 64. With it the rule has 12,801 weights.

    Attributes:
        hidden: Width of the GRU.
        inputs: ``linear`` feeds ``input_scale g``; ``log1p`` feeds ``log(1 + |g|)`` and ``sign g``, whose derivatives in g at 0
            are taken as 0.
        input_scale: Factor on the gradient; 1 is "raw" in the code. ``log1p`` takes none.
        output_scale: Factor on the readout.

    Raises:
        UserError: If ``inputs`` is unknown, a width or scale is not positive, or ``log1p`` comes with an input scale.
    """

    kind: ClassVar[str] = "gru"
    needs: ClassVar[frozenset[str]] = frozenset()
    coordinatewise: ClassVar[bool] = True

    hidden: int = 64
    inputs: str = LINEAR
    input_scale: float = 1.0
    output_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise UserError("gru: the width must be positive", value=self.hidden, mend="e.g. hidden 64")
        if self.inputs not in _FEATURES:
            raise unknown_name("input of rule 'gru'", self.inputs, _FEATURES)
        for name in ("input_scale", "output_scale"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise UserError(f"gru: {name} out of range", value=getattr(self, name), mend="give a finite number > 0")
        if self.inputs == LOG1P and self.input_scale != 1.0:
            raise UserError("gru: log1p takes no input_scale", value=self.input_scale, mend="leave it at 1")

    @property
    def cell(self) -> GruCell:
        """Its cell."""
        return GruCell(_FEATURES[self.inputs], self.hidden)

    @property
    def state_size(self) -> int:
        """h."""
        return self.hidden

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Fresh weights; see :meth:`rayl2o.rules.gru_cell.GruCell.init`."""
        return self.cell.init(generator, dtype)

    def init_state(
        self,
        phi: Mapping[str, Tensor],
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        """The learned state ``[k, D, hidden]``, for those who look; the first update takes it from phi anew."""
        start = phi["gru.h0"].to(device=device, dtype=dtype).view(-1, 1, 1)
        return {"coord": pack(start.expand(-1, k, layout.size).contiguous())}

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step of any leading shape; differentiable in phi, grad and state, twice."""
        shape = inputs.grad.shape
        rows = self.cell.started(phi, unpack(state["coord"]), inputs.step)
        features = torch.stack(self._features(inputs.grad.reshape(-1)))
        y, new = self.cell.step(phi, features, rows.flatten(1))
        return (self.output_scale * y).reshape(shape), {"coord": pack(new.reshape(-1, *shape))}

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """U steps of N coordinates, fused; the learned initial state gets the gradient of the columns that start at step 0."""
        if not unrollable(phi, inputs.grad, state["coord"]) or bool((inputs.step[1:] == 0).any()):
            return step_through(self, phi, inputs, state)
        with torch.no_grad():
            features = torch.stack(self._features(inputs.grad), dim=1)
        rows = self.cell.started(phi, unpack(state["coord"]), inputs.step[0])
        y, last = unroll_gru(self.cell, phi, features, rows)
        return self.output_scale * y, {"coord": pack(last)}

    def _features(self, grad: Tensor) -> tuple[Tensor, ...]:
        if self.inputs == LOG1P:
            return torch.log1p(grad.abs()), torch.sign(grad)
        return (self.input_scale * grad,)
