"""How arithmetic is pinned in a process of the cluster, so that every process computes the same bytes."""

from __future__ import annotations

import os

import torch


def pin() -> None:
    """One thread, denormals flushed. Both are properties of a thread, and Ray calls methods from threads of its own choosing, so
    every remote method that computes begins with this; it costs a microsecond."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    torch.set_flush_denormal(True)
