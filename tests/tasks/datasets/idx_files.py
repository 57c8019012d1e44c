"""Writes small IDX files, right or wrong."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def idx_bytes(array: NDArray[np.uint8], element: int = 0x08) -> bytes:
    """The IDX form of an array of unsigned bytes."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, element, array.ndim, *array.shape)
    return header + array.tobytes()


def write_mnist(root: Path, count: int = 6, labels: NDArray[np.uint8] | None = None, zipped: bool = True) -> Path:
    """A folder ``root/mnist`` with four small files; returns it."""
    folder = root / "mnist"
    folder.mkdir()
    pixels = (np.arange(count * 784) % 256).astype(np.uint8).reshape(count, 28, 28)
    marks = (np.arange(count) % 10).astype(np.uint8) if labels is None else labels
    for stem in ("train", "t10k"):
        for name, array in ((f"{stem}-images-idx3-ubyte", pixels), (f"{stem}-labels-idx1-ubyte", marks)):
            data = idx_bytes(array)
            path = folder / (f"{name}.gz" if zipped else name)
            path.write_bytes(gzip.compress(data) if zipped else data)
    return folder
