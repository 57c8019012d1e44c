"""L2O-DM: an LSTM per coordinate on the log-and-sign of its gradient (Andrychowicz et al. 2016; T's code)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Phi, State, step_through
from rayl2o.rules.log_sign import log_sign
from rayl2o.rules.lstm import Network
from rayl2o.rules.lstm_unroll import unroll, unrollable
from rayl2o.rules.packing import filled_state, pack, unpack


@dataclass(frozen=True)
class DM:
    """L2O-DM: ``delta = output_scale net(log_sign(g))``, without a nonlinearity at the output.

    ``coord [..., 2 sum(hidden)]`` holds h and c of each layer. Full size (hidden 20, 20): 5,141 weights.

    Attributes:
        preprocess_k: k of :func:`rayl2o.rules.log_sign.log_sign`. The published weights use 5, with which a fresh DM stays dead
            (gradients below e^-5 all look alike); 10 starts.
        hidden: Width of each LSTM layer.
        output_scale: Factor on the readout.

    Raises:
        UserError: If a width, preprocess_k or output_scale is not positive.
    """

    kind: ClassVar[str] = "dm"
    needs: ClassVar[frozenset[str]] = frozenset()
    coordinatewise: ClassVar[bool] = True

    preprocess_k: float = 10.0
    hidden: tuple[int, ...] = (20, 20)
    output_scale: float = 0.01

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise UserError("dm: widths must be positive", value=self.hidden, mend="e.g. hidden 20, 20")
        if not 0.0 < self.preprocess_k <= 80.0:
            raise UserError(
                "dm: preprocess_k out of range", value=self.preprocess_k, mend="give a number in (0, 80]; 10 is usual"
            )
        if not 0.0 < self.output_scale < float("inf"):
            raise UserError("dm: output_scale out of range", value=self.output_scale, mend="give a finite number > 0")

    @property
    def network(self) -> Network:
        """Its network."""
        return Network(2, None, self.hidden)

    @property
    def state_size(self) -> int:
        """The recurrent state."""
        return self.network.state_size

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Fresh weights; see :meth:`rayl2o.rules.lstm.Network.init`."""
        return self.network.init(generator, dtype)

    def init_state(
        self,
        phi: Mapping[str, Tensor],  # noqa: ARG002
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        """Zeros ``[k, D, S]``."""
        return filled_state((0.0,) * self.state_size, layout, k, dtype, device)

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step of any leading shape; differentiable in phi, grad and state."""
        shape = inputs.grad.shape
        features = log_sign(inputs.grad.reshape(-1), self.preprocess_k)
        y, rows = self.network.step(phi, features, unpack(state["coord"]).flatten(1))
        return (self.output_scale * y).reshape(shape), {"coord": pack(rows.reshape(-1, *shape))}

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """U steps of N coordinates, fused."""
        if not unrollable(phi, inputs.grad, state["coord"]):
            return step_through(self, phi, inputs, state)
        with torch.no_grad():
            features = log_sign(inputs.grad, self.preprocess_k)
        y, last = unroll(self.network, phi, features, unpack(state["coord"]))
        return self.output_scale * y, {"coord": pack(last)}
