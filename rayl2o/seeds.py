"""Explicit randomness: a seed is a hash of what it is for, never the state of a global generator. Imports nothing of ours."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from (run seed, purpose, slot, ordinal, step, ...).

    Any row of a segment can be recomputed alone because its draws depend on these parts only, never on the order of calls.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A fresh CPU ``torch.Generator`` seeded with :func:`derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(*parts))
