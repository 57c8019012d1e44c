"""RNNprop: an LSTM per coordinate on Adam's two normalised features (Lv et al. 2017; T's code; S's RP and RP(small))."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Phi, State, step_through
from rayl2o.rules.lstm import Network
from rayl2o.rules.lstm_unroll import unroll, unrollable
from rayl2o.rules.moments import bias_correction, ema, ema_of_square, safe_sqrt
from rayl2o.rules.packing import filled_state, pack, unpack


@dataclass(frozen=True)
class RnnProp:
    """RNNprop: ``delta = output_scale tanh(net(m~, g~))``.

    ``m~ = m^ / (sqrt(v^) + eps)`` and ``g~ = g / (sqrt(v^) + eps)`` with Adam's moments, corrected for their start at 0.

    ``coord [..., 2 + 2 sum(hidden)]`` holds m, v, then h and c of each layer. The step counts from the fresh initialisation, not
    from the window. Full size (projection 20, hidden 20, 20): 6,641 weights; small (6 and 7, the code of S): 446.

    Attributes:
        projection: Width of the input projection.
        hidden: Width of each LSTM layer.
        beta1, beta2: Decay of m and v.
        eps: Added to the root of v^.
        output_scale: Largest displacement of a coordinate in one step.

    Raises:
        UserError: If a size is not positive, a decay not in [0, 1), or eps or output_scale not positive.
    """

    kind: ClassVar[str] = "rnnprop"
    needs: ClassVar[frozenset[str]] = frozenset()
    coordinatewise: ClassVar[bool] = True

    projection: int = 20
    hidden: tuple[int, ...] = (20, 20)
    beta1: float = 0.95
    beta2: float = 0.95
    eps: float = 1e-8
    output_scale: float = 0.01

    def __post_init__(self) -> None:
        if not self.hidden or min(self.projection, *self.hidden) < 1:
            raise UserError(
                "rnnprop: widths must be positive",
                value=(self.projection, self.hidden),
                mend="e.g. projection 20, hidden 20, 20",
            )
        for name in ("beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UserError(
                    f"rnnprop: {name} out of range", value=getattr(self, name), mend="give a number in [0, 1)"
                )
        for name in ("eps", "output_scale"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise UserError(
                    f"rnnprop: {name} out of range", value=getattr(self, name), mend="give a finite number > 0"
                )

    @property
    def network(self) -> Network:
        """Its network."""
        return Network(2, self.projection, self.hidden)

    @property
    def state_size(self) -> int:
        """Two moments and the recurrent state."""
        return 2 + self.network.state_size

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
        grad, rows = inputs.grad, unpack(state["coord"])
        m, v = ema(rows[0], grad, self.beta1), ema_of_square(rows[1], grad, self.beta2)
        features = self._features(grad, m, v, inputs.step)
        y, new = self.network.step(
            phi, [f.reshape(-1) for f in features], rows[2:].flatten(1), (m.reshape(-1), v.reshape(-1))
        )
        return self._displacement(y).reshape(grad.shape), {"coord": pack(new.reshape(-1, *grad.shape))}

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """U steps of N coordinates; the features do not depend on phi, so only the network is differentiated."""
        if not unrollable(phi, inputs.grad, state["coord"]):
            return step_through(self, phi, inputs, state)
        with torch.no_grad():
            rows = unpack(state["coord"])
            m, v = rows[0], rows[1]
            means, squares = [], []
            for grad in inputs.grad:
                m, v = ema(m, grad, self.beta1), ema_of_square(v, grad, self.beta2)
                means.append(m)
                squares.append(v)
            features = self._features(inputs.grad, torch.stack(means), torch.stack(squares), inputs.step)
        y, last = unroll(self.network, phi, features, rows[2:])
        return self._displacement(y), {"coord": pack(torch.cat((torch.stack((m, v)), last)))}

    def features(self, phi: Mapping[str, Tensor], grads: Tensor) -> dict[str, Tensor]:  # noqa: ARG002
        """What the network sees over gradients ``[U, N]`` from the fresh state: ``m_tilde`` and ``g_tilde [U, N]``."""
        m, v = torch.zeros_like(grads[0]), torch.zeros_like(grads[0])
        means, squares = [], []
        for grad in grads:
            m, v = ema(m, grad, self.beta1), ema_of_square(v, grad, self.beta2)
            means.append(m)
            squares.append(v)
        step = torch.arange(len(grads), dtype=grads.dtype, device=grads.device)[:, None]
        m_tilde, g_tilde = self._features(grads, torch.stack(means), torch.stack(squares), step)
        return {"m_tilde": m_tilde, "g_tilde": g_tilde}

    def _features(self, grad: Tensor, m: Tensor, v: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        scale = safe_sqrt(v) / torch.sqrt(bias_correction(self.beta2, step, grad)) + self.eps
        return m / (scale * bias_correction(self.beta1, step, grad)), grad / scale

    def _displacement(self, y: Tensor) -> Tensor:
        return self.output_scale * torch.tanh(y)
