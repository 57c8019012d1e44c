"""Writes small CIFAR files, right or wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def records(labels: NDArray[np.uint8], seed: int = 0) -> bytes:
    """Records with label bytes ``[N, L]`` and random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    return np.concatenate([labels, pixels], axis=1).tobytes()


def column(*labels: int) -> NDArray[np.uint8]:
    """One label byte a record."""
    return np.array(labels, dtype=np.uint8)[:, None]


def write_cifar10(root: Path, batches: int = 2, count: int = 5) -> Path:
    """A folder with small batches; labels count up from 0."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for batch in range(1, batches + 1):
        labels = column(*((count * (batch - 1) + i) % 10 for i in range(count)))
        (folder / f"data_batch_{batch}.bin").write_bytes(records(labels, batch))
    (folder / "test_batch.bin").write_bytes(records(column(3, 1, 4), 99))
    return folder


def write_cifar100(root: Path) -> Path:
    """A folder with small files, whose fine class f lies in coarse class f // 5."""
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    for part, fine in (("train", (0, 99, 50, 7, 7, 6)), ("test", (98, 5))):
        labels = np.array([(f // 5, f) for f in fine], dtype=np.uint8)
        (folder / f"{part}.bin").write_bytes(records(labels))
    return folder
