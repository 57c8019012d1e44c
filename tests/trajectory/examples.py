"""Segments of random numbers, for tests of their serial form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from rayl2o.unroll.segment import DIVERGED, MIX, OK, Provenance, Segment


def make_segment(
    k: int = 3,
    steps: int = 4,
    coords: int = 5,
    state: int = 2,
    *,
    tensors: tuple[int, int] | None = (3, 2),
    instance_state: int | None = 2,
    params: int | None = 11,
    key: tuple[int, int, int] = (1, 2, 3),
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Segment:
    """Every field filled; the last coordinate padded, the last instance diverged after its first step (if there are several)."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    valid = torch.full((k,), steps, dtype=torch.int32)
    loss, weight, credit, delta = (
        normal(k, steps + 1),
        normal(k, coords).abs(),
        normal(k, steps, coords),
        normal(k, steps, coords),
    )
    index = torch.randint(0, 11, (k, coords), generator=generator, dtype=torch.int32)
    if k > 1:
        valid[-1] = min(1, steps)
        loss[-1, 2:] = torch.tensor([float("nan"), float("inf"), -0.0] * steps, dtype=dtype)[: steps - 1]
        credit[-1, 1:] = delta[-1, 1:] = 0
    if coords > 1:
        weight[:, -1] = 0
        index[:, -1] = 0
    return Segment(
        source=Provenance(
            run_id="run-ü",
            family="quadratic",
            specs=tuple(json.dumps({"family": "quadratic", "seed": i, "settings": {"size": 11}}) for i in range(k)),
            seed=2**62 + seed,
            slot=key[0],
            ordinal=key[1],
            segment=key[2],
            start_step=key[2] * steps,
            policy_version=7,
            behaviour=MIX,
            worker=3,
            incarnation=2,
            attempt=1,
        ),
        status=(OK,) * (k - 1) + (DIVERGED if k > 1 else OK,),
        valid=valid,
        loss=loss,
        coords=index,
        weight=weight,
        grad=normal(k, steps, coords),
        credit=credit,
        delta=delta,
        actor=torch.randint(0, 3, (k, steps), generator=generator, dtype=torch.int8),
        coord_state=normal(k, coords, state),
        tensor_state=None if tensors is None else normal(k, *tensors),
        global_state=None if instance_state is None else normal(k, instance_state),
        params=None if params is None else normal(k, params),
    )


VARIANTS: dict[str, Callable[[], Segment]] = {
    "all fields": make_segment,
    "one instance, one step, one coordinate": lambda: make_segment(1, 1, 1, 1, tensors=(1, 1), instance_state=1),
    "no optional state": lambda: make_segment(tensors=None, instance_state=None, params=None),
    "a rule without state": lambda: make_segment(state=0, tensors=None, instance_state=None, params=None),
    "optional state of no width": lambda: make_segment(state=0, tensors=(4, 0), instance_state=0),
    "no tensors": lambda: make_segment(tensors=(0, 3)),
    "params only": lambda: make_segment(tensors=None, instance_state=None),
    "many instances": lambda: make_segment(k=17, steps=20, coords=31, state=4),
    "not contiguous": lambda: strided(make_segment()),
    "a slice of a larger one": lambda: part_of_larger(make_segment(k=6)),
}


def strided(segment: Segment) -> Segment:
    """The same numbers in transposed memory."""
    turned: dict[str, Any] = {n: t.transpose(0, -1).contiguous().transpose(0, -1) for n, t in named_tensors(segment)}
    return replace(segment, **turned)


def part_of_larger(segment: Segment) -> Segment:
    """Instances 2 to 5 as views into the whole."""
    views: dict[str, Any] = {name: tensor[2:] for name, tensor in named_tensors(segment)}
    return replace(
        segment,
        source=replace(segment.source, specs=segment.source.specs[2:]),
        status=segment.status[2:],
        **views,
    )


def named_tensors(segment: Segment) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a segment that are there, by field."""
    for field in fields(segment):
        value = getattr(segment, field.name)
        if isinstance(value, Tensor):
            yield field.name, value


def same(a: Segment, b: Segment) -> bool:
    """Equal in every field, NaN and the sign of zero included."""
    left, right = dict(named_tensors(a)), dict(named_tensors(b))
    return (a.source, a.status, left.keys()) == (b.source, b.status, right.keys()) and all(
        t.dtype == right[name].dtype
        and t.shape == right[name].shape
        and t.contiguous().numpy().tobytes() == right[name].contiguous().numpy().tobytes()
        for name, t in left.items()
    )
