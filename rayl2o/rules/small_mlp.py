"""The small MLP optimizer (Metz et al. 2022, small_fc_lopt): hand-made features of each tensor, a tiny network per coordinate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Phi, State, step_through
from rayl2o.rules.lstm_unroll import unrollable
from rayl2o.rules.packing import pack, unpack
from rayl2o.rules.small_mlp_features import (
    COORD_DECAYS,
    FACTORED_DECAYS,
    Moments,
    advance,
    factored_counts,
    inverse_rms,
    targets,
)
from rayl2o.rules.small_mlp_network import SmallNetwork
from rayl2o.rules.small_mlp_unroll import observations, unroll_small

_RATES = tuple(1.0 - decay for decay in COORD_DECAYS + FACTORED_DECAYS)
_LARGEST_RATES = (math.inf,) * 3 + (1.0,) * 4
"""The code keeps the decays of squares in [0, 1], and those of momenta below 1 only."""

_Displacement = Callable[[Mapping[str, Tensor], Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class SmallMlp:
    """small_fc_lopt of Metz et al. 2022: ``delta = -step_mult d exp(exp_mult m)``, ``(d, m) = mlp(features, step)``.

    Features of a coordinate: its gradient, its value, three momenta, a mean square, and Adafactor's row and column mean squares
    of its tensor, raw, as reciprocal roots and as preconditioners; each normalised over the tensor
    (:mod:`rayl2o.rules.small_mlp_features`). The step comes in as 11 saturating embeddings. All formulas, constants and initial
    weights are those of ``adafac_mlp_lopt.py`` in google/learned_optimization with its defaults. Of two published versions of
    that file this is the one that divides the momenta of vectors by ``sqrt(v + 1e-6)``; the other has no 1e-6, and infinite
    derivatives. Ours: the decays are one weight of 7 numbers, and as axes of equal size are told apart by their order, which
    is not haiku's, rows and columns of a square weight change places.

    It needs whole tensors, so coordinates cannot be sampled. ``coord [K, D, 4]`` holds the momenta and the mean square, 16
    bytes per coordinate in float32; ``global [K, 3 R]`` the factored mean squares: tensor after tensor its row means, then its
    column means (a vector: one per coordinate), R in all, for each of three decays. That is 12 bytes per row or column: 28 bytes
    per coordinate of a vector in all, little more than 16 of a large matrix. While a step is made, the features of a tensor take
    some 350 bytes per coordinate. It has 197 weights.

    Attributes:
        hidden: Widths of the hidden layers.
        exp_mult: Factor on the magnitude.
        step_mult: Factor on the displacement.
        learn_decays: Whether the 7 decays are weights, as in the code, or stay where they start: .9, .99, .999 for the momenta
            and the factored squares, .999 for the mean square. Fixed ones halve the time of the learner's pass.

    Raises:
        UserError: If there is no hidden layer, or a width or factor is not positive.
    """

    kind: ClassVar[str] = "mlp"
    needs: ClassVar[frozenset[str]] = frozenset({"layout", "params"})
    coordinatewise: ClassVar[bool] = False
    state_size: ClassVar[int] = len(COORD_DECAYS)

    hidden: tuple[int, ...] = (4, 4)
    exp_mult: float = 1e-3
    step_mult: float = 1e-3
    learn_decays: bool = True

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise UserError("mlp: it needs hidden layers of positive width", value=self.hidden, mend="e.g. hidden 4x4")
        for name in ("exp_mult", "step_mult"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise UserError(f"mlp: {name} out of range", value=getattr(self, name), mend="give a finite number > 0")

    @property
    def network(self) -> SmallNetwork:
        """Its network."""
        return SmallNetwork(self.hidden, self.exp_mult, self.step_mult)

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Fresh weights of the network, and ``mlp.decays [7]``: 0 where they start, ``log(1 - decay)`` moves by 10 times it."""
        phi = self.network.init(generator, dtype)
        return phi | {"mlp.decays": torch.zeros(len(_RATES), dtype=dtype)} if self.learn_decays else phi

    def init_state(
        self,
        phi: Mapping[str, Tensor],  # noqa: ARG002
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        """Zeros."""
        coord = torch.zeros(self.state_size, k, layout.size, dtype=dtype, device=device)
        factored = torch.zeros(len(FACTORED_DECAYS), k, sum(factored_counts(layout)), dtype=dtype, device=device)
        return _packed(Moments(coord, factored))

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step of K instances, which may be at different steps (``step [K, 1]``); differentiable in all, twice."""
        return self._update(phi, inputs, state, self.network.displacement)

    def update_each(self, phis: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """:meth:`update` of K instances, each with weights of its own, ``[K, ...]`` by name: what ``vmap`` over instances gives,
        in fewer and larger operations."""
        return self._update(phis, inputs, state, self.network.displacement_each)

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """U steps of K instances, ``grad``, ``params [U, K, D]`` and ``step [U, 1, 1]`` or ``[U, K, 1]``; fused where a gradient
        of phi and of nothing else is wanted."""
        assert inputs.params is not None
        others = inputs.params.requires_grad or state["global"].requires_grad
        if others or not unrollable(phi, inputs.grad, state["coord"]):
            return step_through(self, phi, inputs, state)
        deltas, last = unroll_small(self.network, phi, self._rates(phi, inputs.grad), inputs, _unpacked(state))
        return deltas, _packed(last)

    def _update(
        self, phi: Mapping[str, Tensor], inputs: Inputs, state: State, displacement: _Displacement
    ) -> tuple[Tensor, State]:
        assert inputs.layout is not None
        after = advance(_unpacked(state), targets(inputs.layout, inputs.grad), *self._rates(phi, inputs.grad))
        deltas = []
        for pieces in observations(inputs.layout, inputs, after):
            raw = torch.cat(pieces)
            deltas.append(displacement(phi, raw, inputs.step, inverse_rms(raw * raw)))
        return torch.cat(deltas, 1), _packed(after)

    def _rates(self, phi: Mapping[str, Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
        """One minus the decays, ``[4, 1, 1]`` and ``[3, 1, 1]``; ``[., K, 1]`` if there are K of each weight."""
        rates = like.new_tensor(_RATES)[:, None, None]
        if self.learn_decays:
            factors = torch.exp(10.0 * phi["mlp.decays"]).reshape(-1, len(_RATES)).t()[:, :, None]
            rates = torch.minimum(rates * factors, like.new_tensor(_LARGEST_RATES)[:, None, None])
        return rates[: len(COORD_DECAYS)], rates[len(COORD_DECAYS) :]


def _packed(moments: Moments) -> State:
    return {"coord": pack(moments.coord), "global": moments.factored.transpose(0, 1).flatten(1)}


def _unpacked(state: State) -> Moments:
    flat = state["global"]
    factored = flat.reshape(len(flat), len(FACTORED_DECAYS), -1).transpose(0, 1)
    return Moments(unpack(state["coord"]), factored.contiguous())
