"""What crosses a process: the project's frozen dataclasses with numpy arrays in place of tensors.

A 50 MB torch tensor costs the object store 14 to 130 times what a numpy array of the same bytes does (design.md section 6), and
torch objects would tie both ends to one way of serializing. The order of a tensor's axes in memory is kept: the LSTM's state is
state-major, and a copy into another order at every step would cost more than the journey.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Numbers:
    """A tensor: its numbers as they lie in memory, and which axis of the tensor each axis of the array is."""

    array: NDArray[Any]
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Record:
    """A dataclass: its type and its packed fields."""

    kind: type[Any]
    fields: dict[str, Any]


def pack(value: Any) -> Any:
    """Dataclasses, mappings, tuples and lists all the way down, tensors as :class:`Numbers` that share their memory."""
    if isinstance(value, Tensor):
        return _numbers(value)
    if is_dataclass(value) and not isinstance(value, type):
        return Record(type(value), {field.name: pack(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, dict):
        return {name: pack(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(pack(item) for item in value)
    return value


def unpack(value: Any) -> Any:
    """Inverse of :func:`pack`. Numbers are copied once into torch's own memory: those of the object store are read-only."""
    if isinstance(value, Numbers):
        tensor = torch.from_numpy(np.array(value.array))
        return tensor.permute(tuple(value.axes.index(axis) for axis in range(tensor.dim())))
    if isinstance(value, Record):
        return value.kind(**{name: unpack(item) for name, item in value.fields.items()})
    if isinstance(value, dict):
        return {name: unpack(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(unpack(item) for item in value)
    return value


def nbytes(value: Any) -> int:
    """Bytes of all numbers in a packed value."""
    if isinstance(value, Numbers):
        return int(value.array.nbytes)
    if isinstance(value, Record):
        return nbytes(value.fields)
    if isinstance(value, dict):
        return sum(nbytes(item) for item in value.values())
    if isinstance(value, (tuple, list)):
        return sum(nbytes(item) for item in value)
    return 0


def _numbers(tensor: Tensor) -> Numbers:
    tensor = tensor.detach().cpu()
    strides: tuple[int, ...] = tensor.stride()
    axes = tuple(sorted(range(tensor.dim()), key=lambda axis: -strides[axis]))
    return Numbers(tensor.permute(axes).contiguous().numpy(), axes)
