"""RNNprop with a third, trainable feature n~: RP(small, extra) of paper S."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.rules.base import Inputs, Phi, State, step_through
from rayl2o.rules.lstm import Network
from rayl2o.rules.lstm_unroll import unroll, unrollable
from rayl2o.rules.moments import bias_correction, ema, ema_of_square, safe_sqrt
from rayl2o.rules.packing import pack, unpack
from rayl2o.rules.rnnprop import RnnProp

FLOOR = 1e-16
"""A gradient below it is raised to the powers as if it were this large, and enters linearly (or squared) beside them."""
LARGEST_EXPONENT = 40.0
"""Bound on ``alpha ln|g|``, where |g| counts as 1e16 at most: none with |alpha| <= 1 reaches it."""


@dataclass(frozen=True)
class RnnPropExtra(RnnProp):
    """RNNprop with n~ beside m~ and g~: ``delta = output_scale tanh(net(m~, g~, n~))``. Defaults: RP(small, extra) of S.

    n~ is made as m~, from other means: ``n = ema(k1 g^(1 + alpha1) + k2 g^(1 - alpha1))`` for m, of decay beta1, and
    ``w = ema(l1 g^(2 + alpha2) + l2 g^(2 - alpha2))`` for v, of decay beta2; ``n~ = n^ / (sqrt(w^) + eps)``. All six constants
    are weights, whose gradient flows through both means over the window; what a window starts with is data to it, as any state.

    The paper leaves open (and no code is public): real powers, read as ``sign(g) |g|^p`` in n and ``|g|^p`` in w; the start, here
    k = l = (.5, .5) and alpha = (.05, .05), with which n~ is close to m~; and the sign of w, which is kept positive by taking
    |l1| and |l2|. Below ``FLOOR`` the powers are continued by ``g FLOOR^(+-alpha)``, and ``alpha ln|g|`` is bounded, so that all
    is total on the reals with finite derivatives, at 0 too, whatever the exponents: in float32 for gradients up to 1e10.

    ``coord [..., 4 + 2 sum(hidden)]`` holds m, v, n, w, then h and c of each layer: 72 bytes per coordinate in float32 at the
    default sizes, with 430 weights.
    """

    kind: ClassVar[str] = "rnnprop-extra"

    projection: int = 6
    hidden: tuple[int, ...] = (7,)

    @property
    def network(self) -> Network:
        """Its network."""
        return Network(3, self.projection, self.hidden)

    @property
    def state_size(self) -> int:
        """Four means and the recurrent state."""
        return 4 + self.network.state_size

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Fresh weights of the network, and the constants ``extra.k``, ``extra.l``, ``extra.alpha``, each ``[2]``."""
        constants = {"extra.k": 0.5, "extra.l": 0.5, "extra.alpha": 0.05}
        return super().init_phi(generator, dtype) | {
            name: torch.full((2,), value, dtype=dtype) for name, value in constants.items()
        }

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step of any leading shape; differentiable in phi, grad and state."""
        grad, rows = inputs.grad, unpack(state["coord"])
        m, v = ema(rows[0], grad, self.beta1), ema_of_square(rows[1], grad, self.beta2)
        powers = _powers(phi, grad)
        n, w = ema(rows[2], powers[0], self.beta1), ema(rows[3], powers[1], self.beta2)
        features = (*self._features(grad, m, v, inputs.step), self._extra(n, w, inputs.step))
        y, new = self.network.step(
            phi,
            [f.reshape(-1) for f in features],
            rows[4:].flatten(1),
            [mean.expand(grad.shape).reshape(-1) for mean in (m, v, n, w)],
        )
        return self._displacement(y).reshape(grad.shape), {"coord": pack(new.reshape(-1, *grad.shape))}

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """U steps of N coordinates; m~ and g~ are data, n~ and the network are differentiated."""
        if not unrollable(phi, inputs.grad, state["coord"]):
            return step_through(self, phi, inputs, state)
        rows = unpack(state["coord"])
        with torch.no_grad():
            means = _running(rows[0], inputs.grad, self.beta1)
            squares = _running_squares(rows[1], inputs.grad, self.beta2)
            fixed = self._features(inputs.grad, means, squares, inputs.step)
        powers = _powers(phi, inputs.grad)
        n, w = _running(rows[2], powers[0], self.beta1), _running(rows[3], powers[1], self.beta2)
        y, recurrent = unroll(self.network, phi, (*fixed, self._extra(n, w, inputs.step)), rows[4:])
        last = torch.cat((torch.stack((means[-1], squares[-1], n[-1], w[-1])), recurrent))
        return self._displacement(y), {"coord": pack(last)}

    def features(self, phi: Mapping[str, Tensor], grads: Tensor) -> dict[str, Tensor]:
        """As of RNNprop, with ``n_tilde``."""
        powers = _powers(phi, grads)
        start = torch.zeros_like(grads[0])
        n, w = _running(start, powers[0], self.beta1), _running(start, powers[1], self.beta2)
        step = torch.arange(len(grads), dtype=grads.dtype, device=grads.device)[:, None]
        return {**super().features(phi, grads), "n_tilde": self._extra(n, w, step)}

    def _extra(self, n: Tensor, w: Tensor, step: Tensor) -> Tensor:
        scale = safe_sqrt(w) / torch.sqrt(bias_correction(self.beta2, step, w)) + self.eps
        return n / (scale * bias_correction(self.beta1, step, n))


def _powers(phi: Mapping[str, Tensor], grad: Tensor) -> tuple[Tensor, Tensor]:
    """What n and w are means of, each shaped like ``grad``."""
    of_n, of_w, alpha = phi["extra.k"], phi["extra.l"].abs(), phi["extra.alpha"]
    size = torch.log(torch.clamp(grad.abs(), FLOOR, 1.0 / FLOOR))
    up, down = (
        [torch.exp(torch.clamp(sign * a * size, -LARGEST_EXPONENT, LARGEST_EXPONENT)) for a in alpha]
        for sign in (1.0, -1.0)
    )
    numerator, denominator = (c[0] * rise + c[1] * fall for c, rise, fall in zip((of_n, of_w), up, down, strict=True))
    # In this order of factors no intermediate derivative overflows where the result does not.
    return grad * numerator, grad * (grad * denominator)


def _running(mean: Tensor, values: Tensor, beta: float) -> Tensor:
    """The running mean ``[U, N]`` after each row of ``values [U, N]``."""
    means = []
    for value in values:
        mean = ema(mean, value, beta)
        means.append(mean)
    return torch.stack(means)


def _running_squares(mean: Tensor, values: Tensor, beta: float) -> Tensor:
    """As :func:`_running`, of the squares."""
    means = []
    for value in values:
        mean = ema_of_square(mean, value, beta)
        means.append(mean)
    return torch.stack(means)
