"""The task batches that a process built last: every segment of a trajectory runs on the same one."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch

from rayl2o.tasks.base import TaskBatch, TaskSpec
from rayl2o.tasks.registry import build

KEPT = 8
"""Batches kept. They are immutable, and their data are one mapped store per machine."""

_Key = tuple[tuple[TaskSpec, ...], torch.dtype, torch.device]
_last: deque[tuple[_Key, TaskBatch]] = deque(maxlen=KEPT)


def built(specs: Sequence[TaskSpec], dtype: torch.dtype, device: torch.device) -> TaskBatch:
    """As :func:`rayl2o.tasks.registry.build`: drawing a thousand tasks costs more than the window that is run on them.

    Raises:
        UserError: As there.
    """
    # Equality of specs is cheap beside a build (equal objects are the same ones within a process); hashing them is not.
    key = (tuple(specs), dtype, device)
    for known, batch in _last:
        if known == key:
            return batch
    batch = build(specs, dtype=dtype, device=device)
    _last.appendleft((key, batch))
    return batch
