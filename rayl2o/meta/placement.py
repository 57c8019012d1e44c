"""Where a training lives: all tensors of its state on one device. Roll-outs, credit and learner follow phi."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from rayl2o.errors import UserError

T = TypeVar("T")


def usable(device: str) -> torch.device:
    """The device of that name.

    Raises:
        UserError: If torch sees no such GPU here.
    """
    found = torch.device(device)
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise UserError(
            "torch sees no such GPU here",
            value=f"unroll.device={device}",
            mend="use unroll.device=cpu, or a CUDA build of torch",
        )
    return found


def placed(value: T, device: torch.device) -> T:
    """Dataclasses, mappings and tuples all the way down, with every tensor on ``device``; the value itself if nothing moves."""
    moved: Any = value
    if isinstance(value, Tensor):
        moved = value.to(device)
    elif is_dataclass(value) and not isinstance(value, type):
        old = {field.name: getattr(value, field.name) for field in fields(value)}
        new = {name: placed(part, device) for name, part in old.items()}
        if any(new[name] is not old[name] for name in old):
            moved = replace(value, **new)
    elif isinstance(value, dict):
        parts = {name: placed(part, device) for name, part in value.items()}
        moved = parts if any(parts[name] is not value[name] for name in parts) else value
    elif isinstance(value, tuple):
        row = tuple(placed(part, device) for part in value)
        moved = row if any(one is not other for one, other in zip(row, value, strict=True)) else value
    return moved  # type: ignore[no-any-return]
