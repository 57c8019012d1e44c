"""L2O-Scale (Wichrowska et al. 2017, "Learned Optimizers that Scale and Generalize"): GRUs per coordinate, tensor and problem."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from rayl2o.errors import UserError
from rayl2o.layout import Layout
from rayl2o.rules.base import Inputs, Phi, State, step_through
from rayl2o.rules.packing import pack, unpack
from rayl2o.rules.scale_cells import Level, Link, normal, tensor_means, to_coordinates
from rayl2o.rules.scale_features import TINY, Memory, network_inputs, remembered, scaled_gradients

MIN_LOG_LR = -33.0
"""Least log learning rate."""
SCALE_DECAY, INPUT_DECAY, LR_MOMENTUM = 3.2, 2.2, 3.2
"""Where the logits of the two decays and of the learning rate's momentum start."""
GOLDEN = (1.0 + math.sqrt(5.0)) / 2.0
SHORTCUT_DEVIATION = 0.1
"""Of the shortcut's weights around 1 / G at the start, over the root of G."""


@dataclass(frozen=True)
class Scale:
    """L2O-Scale: ``delta = -exp(log_lr - 1) direction / rms(direction)``, from a GRU per coordinate, per tensor and per problem.

    The -1 is learned, too. The lowest level sees 12 numbers (:func:`rayl2o.rules.scale_features.network_inputs`) and takes biases
    from the two others. It gives the direction (with a linear shortcut from the scaled gradients), the two decays of the next
    step's averages, and the change of the coordinate's own log learning rate, of which a running average is kept. The tensor's
    level sees the means over its coordinates of what the lowest was fed and gave; the problem's level sees the mean over the
    tensors. All is as in the authors' code with its default flags (no attention). The rms is that of the tensor, so a tensor of
    one coordinate moves by its whole learning rate. The states before the first step are weights, read from phi at step 0 as in
    :class:`rayl2o.rules.gru.Gru`. Beyond its range the log learning rate is clamped but differentiated as if it were not.

    Three things differ. The code feeds the problem's level with the last tensor alone, against its own comment and the paper:
    here it is the mean. The first log learning rates, random there (half the range per coordinate, half per tensor), are spread
    as evenly by a fixed sequence, the same for every trajectory and instance, since a state is made without a generator. And
    asinh is exact where the code's formula cancels.

    ``coord [K, D, 21]`` holds the state of the lowest level, the two decays, the log learning rate, 4 averages and 4 mean
    squares: 84 bytes per coordinate in float32 at the default sizes, with 8,349 weights; ``tensor [K, T, 20]`` and
    ``global [K, 20]`` hold the states of the upper levels.

    Attributes:
        hidden: Widths of the three levels: coordinate, tensor, problem.
        scales: G, time scales of the gradient.
        min_lr, max_lr: Range of the first learning rates.
        max_log_lr: Greatest log learning rate.

    Raises:
        UserError: If there are not three positive widths, fewer than two time scales, or the learning rates are not in order.
    """

    kind: ClassVar[str] = "scale"
    needs: ClassVar[frozenset[str]] = frozenset({"layout"})
    coordinatewise: ClassVar[bool] = False

    hidden: tuple[int, ...] = (10, 20, 20)
    scales: int = 4
    min_lr: float = 1e-6
    max_lr: float = 1e-2
    max_log_lr: float = 33.0

    def __post_init__(self) -> None:
        if len(self.hidden) != 3 or min(self.hidden) < 1:
            raise UserError("scale: needs three positive widths", value=self.hidden, mend="e.g. hidden [10, 20, 20]")
        if self.scales < 2:
            raise UserError("scale: needs at least two time scales", value=self.scales, mend="e.g. scales 4")
        if not 0.0 < self.min_lr <= self.max_lr < math.inf:
            raise UserError(
                "scale: the first learning rates are out of order",
                value=(self.min_lr, self.max_lr),
                mend="give 0 < min_lr <= max_lr",
            )
        if not MIN_LOG_LR < self.max_log_lr < math.inf:
            raise UserError("scale: max_log_lr out of range", value=self.max_log_lr, mend=f"above {MIN_LOG_LR:g}")

    @property
    def levels(self) -> tuple[Level, Level, Level]:
        """The cells: coordinate, tensor, problem."""
        coord, tensor, problem = self.hidden
        features = 3 * self.scales
        return (
            Level("coord", features, coord),
            Level("tensor", coord + features, tensor),
            Level("global", tensor, problem),
        )

    @property
    def links(self) -> tuple[Link, Link, Link]:
        """Tensor to coordinate, problem to coordinate, problem to tensor."""
        coord, tensor, problem = self.levels
        return Link(tensor, coord), Link(problem, coord), Link(problem, tensor)

    @property
    def state_size(self) -> int:
        """S of ``coord``: h, two decays, the log learning rate, the averages and their squares."""
        return self.hidden[0] + 3 + 2 * self.scales

    @property
    def tensor_state_size(self) -> int:
        """Floats of state per tensor."""
        return self.hidden[1]

    @property
    def global_state_size(self) -> int:
        """Floats of state per instance."""
        return self.hidden[2]

    def init_phi(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Phi:
        """Fresh weights as in the code; drawn in float32, so a seed means the same in any dtype.

        The change of the learning rate starts at 0; the direction starts as about the mean of the scaled gradients, so a fresh
        rule goes downhill.
        """
        width = self.hidden[0]
        shortcut = SHORTCUT_DEVIATION / math.sqrt(self.scales) * torch.randn(self.scales, generator=generator)
        phi = {
            "direction.w": normal(generator, width, 1).squeeze(1),
            "direction.shortcut": 1.0 / self.scales + shortcut,
            "scale_decay.w": normal(generator, width, 1).squeeze(1),
            "scale_decay.b": torch.tensor([SCALE_DECAY]),
            "input_decay.w": normal(generator, width, 1).squeeze(1),
            "input_decay.b": torch.tensor([INPUT_DECAY]),
            "log_lr.w": torch.zeros(width),
            "log_lr.b": torch.zeros(1),
            "log_lr.momentum": torch.tensor([LR_MOMENTUM]),
            "log_lr.offset": torch.tensor([-1.0]),
        }
        for part in (*self.levels, *self.links):
            phi |= part.init(generator)
        return {name: weight.to(dtype) for name, weight in phi.items()}

    def init_state(
        self,
        phi: Mapping[str, Tensor],
        layout: Layout,
        k: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> State:
        """The learned states, for those who look; decays and averages 0; the first log learning rates, alike in all instances."""
        coord, tensor, problem = (
            phi[f"{level.name}.h0"].to(device=device, dtype=dtype).view(-1, 1, 1).expand(-1, k, columns)
            for level, columns in zip(self.levels, (layout.size, layout.tensors, 1), strict=True)
        )
        zeros = torch.zeros(2 * self.scales, k, layout.size, dtype=dtype, device=device)
        log_lr = self._first_log_lr(layout).to(device=device, dtype=dtype).expand(1, k, -1)
        return {
            "coord": pack(torch.cat((coord, zeros[:2], log_lr, zeros))),
            "tensor": pack(tensor.contiguous()),
            "global": pack(problem.squeeze(-1).contiguous()),
        }

    def update(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """One step of K whole instances; differentiable in phi, grad and state, twice."""
        assert inputs.layout is not None
        sizes = [math.prod(shape) for shape in inputs.layout.shapes]
        rows = unpack(state["coord"])
        h, input_decay, scale_decay, log_lr, means, squares = torch.split(
            rows, [self.hidden[0], 1, 1, 1, self.scales, self.scales]
        )
        memory = remembered(Memory(means, squares), inputs.grad, input_decay[0], scale_decay[0])
        scaled = scaled_gradients(memory)
        x = network_inputs(memory, scaled, log_lr[0])
        above = (unpack(state["tensor"]), unpack(state["global"]).unsqueeze(-1))
        h, tensor, problem = self._advance(phi, inputs.step, sizes, x, (h, *above))
        direction = _project(phi["direction.w"], h) + _project(phi["direction.shortcut"], scaled)
        rms = torch.sqrt(tensor_means(direction * direction, sizes) + TINY)
        step_log_lr = self._clamped(log_lr[0] + _project(phi["log_lr.w"], h) + phi["log_lr.b"])
        delta = -torch.exp(step_log_lr + phi["log_lr.offset"]) * (direction / to_coordinates(rms, sizes))
        new = torch.stack(
            (
                torch.sigmoid(_project(phi["input_decay.w"], h) + phi["input_decay.b"]),
                torch.sigmoid(_project(phi["scale_decay.w"], h) + phi["scale_decay.b"]),
                step_log_lr + torch.sigmoid(phi["log_lr.momentum"]) * (log_lr[0] - step_log_lr),
            )
        )
        return delta, {
            "coord": pack(torch.cat((h, new, memory.means, memory.squares))),
            "tensor": pack(tensor),
            "global": pack(problem.squeeze(-1)),
        }

    def sequence(self, phi: Mapping[str, Tensor], inputs: Inputs, state: State) -> tuple[Tensor, State]:
        """U steps of K whole instances, one after the other: every step feeds the next through all three levels."""
        return step_through(self, phi, inputs, state)

    def _advance(
        self,
        phi: Mapping[str, Tensor],
        step: Tensor,
        sizes: list[int],
        x: Tensor,
        states: tuple[Tensor, Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """New states of the three levels, ``[width, K, columns]`` each; biases come from the old states of the upper ones."""
        cells = self.levels
        h, tensor, problem = (cell.started(phi, old, step) for cell, old in zip(cells, states, strict=True))
        tensor_to_coord, global_to_coord, global_to_tensor = self.links
        from_above = tensor_to_coord.bias(phi, tensor) + global_to_coord.bias(phi, problem)
        new = cells[0].step(phi, x, h, to_coordinates(cells[0].bias(phi) + from_above, sizes))
        seen = tensor_means(torch.cat((new, x)), sizes)
        new_tensor = cells[1].step(phi, seen, tensor, cells[1].bias(phi) + global_to_tensor.bias(phi, problem))
        new_problem = cells[2].step(phi, new_tensor.mean(-1, keepdim=True), problem, cells[2].bias(phi))
        return new, new_tensor, new_problem

    def _clamped(self, log_lr: Tensor) -> Tensor:
        return log_lr + (torch.clamp(log_lr, MIN_LOG_LR, self.max_log_lr) - log_lr).detach()

    def _first_log_lr(self, layout: Layout) -> Tensor:
        """float64 ``[D]``: half the range spread over the coordinates, half over the tensors."""
        low, high = 0.5 * math.log(self.min_lr), 0.5 * math.log(self.max_lr)
        shares = _spread(layout.size, GOLDEN) + to_coordinates(_spread(layout.tensors, math.sqrt(2.0)), layout.sizes)
        return torch.clamp(2.0 * low + (high - low) * shares, MIN_LOG_LR, self.max_log_lr)


def _project(weight: Tensor, values: Tensor) -> Tensor:
    """``weight [W]`` on ``values [W, K, D]``: ``[K, D]``."""
    return (weight @ values.flatten(1)).view(values.shape[1:])


def _spread(count: int, irrational: float) -> Tensor:
    """float64 ``[count]`` in 0..1: the multiples of an irrational number modulo 1, from 1/2 on. Any run of them is even."""
    return torch.frac(0.5 + irrational * torch.arange(count, dtype=torch.float64))
