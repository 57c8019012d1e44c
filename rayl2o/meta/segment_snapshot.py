"""A segment that waits in a slot's state as named tensors plus JSON, and back, bit for bit and in any dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from torch import Tensor

from rayl2o.unroll.segment import Provenance, Segment


def segment_tensors(segment: Segment) -> dict[str, Tensor]:
    """Its tensors by field; optional ones only where they are."""
    return {field.name: value for field in fields(segment) if isinstance(value := getattr(segment, field.name), Tensor)}


def segment_json(segment: Segment) -> dict[str, Any]:
    """The rest of it."""
    return {"source": asdict(segment.source), "status": list(segment.status)}


def segment_of(tensors: Mapping[str, Tensor], data: Mapping[str, Any]) -> Segment:
    """Inverse of both. Raises KeyError or TypeError if something is missing or too much."""
    source = dict(data["source"])
    source["specs"] = tuple(str(spec) for spec in source["specs"])
    return Segment(source=Provenance(**source), status=tuple(str(status) for status in data["status"]), **tensors)
