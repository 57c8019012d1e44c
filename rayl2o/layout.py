"""How a flat parameter vector is cut into tensors. Imports nothing of ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

KINDS = ("weight", "bias", "norm", "scalar")


@dataclass(frozen=True)
class Layout:
    """Names, shapes, kinds and depths of the tensors that a flat vector of ``size`` coordinates concatenates.

    Attributes:
        names: One name per tensor.
        shapes: One shape per tensor; ``()`` is a scalar.
        kinds: One of ``weight``, ``bias``, ``norm``, ``scalar`` per tensor.
        depths: Layer index per tensor, 0 at the input.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    kinds: tuple[str, ...]
    depths: tuple[int, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.names), len(self.shapes), len(self.kinds), len(self.depths)}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"a layout needs one name, shape, kind and depth per tensor, got lengths {sorted(lengths)}"
            )
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"tensor names must differ, got {self.names}")
        if not set(self.kinds) <= set(KINDS):
            raise ValueError(f"tensor kinds must be among {KINDS}, got {self.kinds}")

    @classmethod
    def flat(cls, size: int, name: str = "x") -> Layout:
        """The layout of one vector of ``size`` coordinates."""
        return cls((name,), ((size,),), ("weight",), (0,))

    @property
    def tensors(self) -> int:
        """T, the number of tensors."""
        return len(self.names)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Coordinates per tensor."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Index of the first coordinate of each tensor."""
        return tuple(sum(self.sizes[:i]) for i in range(len(self.sizes)))

    @cached_property
    def size(self) -> int:
        """D, the number of coordinates."""
        return sum(self.sizes)

    def unflatten(self, params: Tensor) -> dict[str, Tensor]:
        """Views ``[..., *shape]`` by name into ``params [..., D]``.

        Raises:
            ValueError: If the last axis is not ``size`` long.
        """
        if params.shape[-1] != self.size:
            raise ValueError(f"this layout has {self.size} coordinates, got a last axis of {params.shape[-1]}")
        parts = torch.split(params, list(self.sizes), dim=-1)
        return {
            name: part.reshape((*params.shape[:-1], *shape))
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }

    def flatten(self, tensors: Mapping[str, Tensor], batch_dims: int = 1) -> Tensor:
        """Concatenates tensors ``[*batch, *shape]`` by name into ``[*batch, D]``, with ``batch_dims`` leading axes kept."""
        return torch.cat(
            [
                tensors[name].flatten(batch_dims) if tensors[name].dim() > batch_dims else tensors[name].unsqueeze(-1)
                for name in self.names
            ],
            dim=-1,
        )

    def tensor_index(self) -> Tensor:
        """int64 ``[D]``: which tensor each coordinate belongs to."""
        return torch.repeat_interleave(torch.arange(self.tensors), torch.tensor(self.sizes))

    def to_json(self) -> dict[str, object]:
        """Plain JSON-able data; :meth:`from_json` reads it back."""
        return {
            "names": list(self.names),
            "shapes": [list(shape) for shape in self.shapes],
            "kinds": list(self.kinds),
            "depths": list(self.depths),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Sequence[object]]) -> Layout:
        """Inverse of :meth:`to_json`."""
        shapes = tuple(tuple(int(str(n)) for n in shape) for shape in data["shapes"] if isinstance(shape, Sequence))
        return cls(
            tuple(str(name) for name in data["names"]),
            shapes,
            tuple(str(kind) for kind in data["kinds"]),
            tuple(int(str(depth)) for depth in data["depths"]),
        )
