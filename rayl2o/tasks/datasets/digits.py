"""The 8 x 8 digits that come with scikit-learn: always there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rayl2o.seeds import derive_seed
from rayl2o.tasks.datasets.base import DataInfo, Examples

_TRAIN = 1500


@dataclass(frozen=True)
class Digits:
    """1,797 digits, values 0..16 divided by 16; the 1,500 whose index hashes lowest are ``train``, the other 297 ``test``."""

    name: str = "digits"

    @property
    def info(self) -> DataInfo:
        """One channel of 8 x 8, ten classes."""
        return DataInfo((1, 8, 8), 10)

    def digest(self, part: str) -> str | None:  # noqa: ARG002
        """None: half a megabyte is not worth a file."""
        return None

    def read(self, part: str) -> Examples:
        """All examples of a part, float32."""
        from sklearn.datasets import load_digits  # slow to import, and the other data sets do not need it

        pixels, labels = load_digits(return_X_y=True)
        # Sorting by a hash keeps the split the same whatever the versions of numpy and torch.
        order = sorted(range(len(labels)), key=lambda index: derive_seed("digits split", index))
        chosen = order[:_TRAIN] if part == "train" else order[_TRAIN:]
        return Examples((pixels[chosen] / 16).astype(np.float32), labels[chosen].astype(np.int64))
