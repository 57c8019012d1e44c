"""What must hold of the values of a segment, whoever made it: checked before a file is written and when one is read."""

from __future__ import annotations

import torch
from torch import Tensor

from rayl2o.checkpoint import parse_json
from rayl2o.errors import UserError, unknown_name
from rayl2o.trajectory.schema import Shape
from rayl2o.unroll.segment import BEHAVIOURS, DIVERGED, OK, Segment

_MEND = "leave this segment out, or make it again"


def check_shapes(segment: Segment) -> None:
    """Every tensor has the shape that Segment documents, K, U and C at least 1.

    Raises:
        ValueError: A bug of whoever made the segment.
    """
    k, coords = segment.k, segment.coords.shape[-1]
    tensors = 0 if segment.tensor_state is None else segment.tensor_state.shape[1]
    if min(k, coords, segment.steps) < 1:
        raise ValueError(f"a segment needs K, U, C >= 1, got {k}, {segment.steps}, {coords}")
    wanted: dict[str, tuple[int, ...]] = {"valid": (k,)}
    wanted |= {name: (k, *row) for name, row in Shape.of(segment).arrays(coords, tensors).items()}
    if segment.params is not None:
        wanted["params"] = (k, segment.params.shape[-1])
    for name, shape in wanted.items():
        found = tuple(getattr(segment, name).shape)
        if found != shape:
            raise ValueError(f"{name} of a segment must be {list(shape)}, got {list(found)}")
    for name, count in (("status", len(segment.status)), ("specs", len(segment.source.specs))):
        if count != k:
            raise ValueError(f"a segment of {k} instances needs as many {name}, got {count}")


def check_values(segment: Segment, origin: str, size: int | None = None) -> None:
    """Names, ranges and finite numbers. Losses after ``valid`` stand as they came, in all else NaN would reach the learner.

    Args:
        segment: Of right shapes.
        origin: Where it comes from, to begin messages with.
        size: D, if the caller knows it: an upper bound of coordinates. Stored params give it, too.

    Raises:
        UserError: What is wrong, and where.
    """
    source, u = segment.source, segment.steps
    origin = f"{origin}, slot {source.slot}, ordinal {source.ordinal}, segment {source.segment}"
    if source.behaviour not in BEHAVIOURS:
        raise unknown_name(f"behaviour in {origin}", source.behaviour, BEHAVIOURS)
    for i in range(segment.k):
        _check_instance_text(segment, i, f"{origin}, instance {i}")
    _check_range("valid", segment.valid, origin, u)
    _check_range("actor", segment.actor, origin, None)
    if segment.params is not None:
        if size not in (None, segment.params.shape[1]):
            raise UserError(
                f"params of {origin} must have {size} coordinates", value=segment.params.shape[1], mend=_MEND
            )
        size = segment.params.shape[1]
    _check_range("coords", segment.coords, origin, None if size is None else size - 1)
    _refuse(
        "weight", segment.weight, ~(torch.isfinite(segment.weight) & (segment.weight >= 0)), origin, "finite and >= 0"
    )
    _check_numbers(segment, origin)


def _check_instance_text(segment: Segment, i: int, where: str) -> None:
    if segment.status[i] not in (OK, DIVERGED):
        raise unknown_name(f"status in {where}", segment.status[i], (OK, DIVERGED))
    try:
        spec = parse_json(segment.source.specs[i])
    except ValueError as error:
        raise UserError(f"spec in {where} is not JSON ({error})", value=segment.source.specs[i], mend=_MEND) from None
    if not isinstance(spec, dict):
        raise UserError(f"spec in {where} must be a JSON object", value=segment.source.specs[i], mend=_MEND)


def _check_numbers(segment: Segment, origin: str) -> None:
    steps = torch.arange(segment.steps)
    counts = steps < segment.valid[:, None].cpu()  # [K, U]
    live = segment.valid.cpu() > 0
    short = (~counts.all(1)).nonzero().flatten().tolist()
    loss = segment.loss[:, 1:].cpu()
    _refuse("loss", loss, counts & ~torch.isfinite(loss), origin, "finite before valid", step_offset=1)
    for name in ("grad", "credit", "delta"):
        column = getattr(segment, name).cpu()
        if not torch.isfinite(column.sum(dtype=torch.float64)):  # one pass; float32 numbers cannot overflow it
            finite = torch.isfinite(column)
            _refuse(name, column, ~finite & counts[:, :, None], origin, "finite before valid")
            _refuse(name, column, ~finite, origin, "finite, from valid on, too")
        if name != "grad" and any(column[k, segment.valid[k] :].any() for k in short):
            _refuse(name, column, (column != 0) & ~counts[:, :, None], origin, "0 from valid on")
    for name in ("coord_state", "tensor_state", "global_state", "params"):
        state = getattr(segment, name)
        if state is not None:
            alive = live.view(-1, *[1] * (state.dim() - 1))
            _refuse(name, state.cpu(), torch.isnan(state.cpu()) & alive, origin, "free of NaN")


def _check_range(name: str, column: Tensor, origin: str, highest: int | None) -> None:
    column = column.cpu()
    outside = column < 0
    if highest is not None:
        outside |= column > highest
    _refuse(name, column, outside, origin, "at least 0" if highest is None else f"in 0..{highest}")


def _refuse(name: str, column: Tensor, bad: Tensor, origin: str, must: str, step_offset: int = 0) -> None:
    """Raises for the first bad entry ``[K, (steps), ...]``, if there is one."""
    if not bad.any():
        return
    index = bad.nonzero()[0].tolist()
    place = f"instance {index[0]}"
    if len(index) > 1:
        at = [index[1] + step_offset, *index[2:]]
        place += f", entry {at if len(at) > 1 else at[0]}"
    raise UserError(f"{name} must be {must} ({origin}, {place})", value=column[tuple(index)].item(), mend=_MEND)
