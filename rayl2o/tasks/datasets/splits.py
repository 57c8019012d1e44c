"""Splits of a data set: which examples of which part, in which order. Every one is the same for everybody, always."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rayl2o.errors import UserError
from rayl2o.seeds import derive_seed

_TF_VALIDATION = 5_000
_HALVES_SEED = 10


@dataclass(frozen=True)
class Split:
    """A run of consecutive examples of a part, in the order of the file or shuffled.

    Attributes:
        part: ``train`` or ``test``.
        shuffled: Whether the part is first brought into the fixed random order of :func:`shuffled_rows`.
        bounds: From the number of examples to the first and last (exclusive) of the split.
        summary: One line for the documentation.
    """

    part: str
    shuffled: bool
    bounds: Callable[[int], tuple[int, int]]
    summary: str

    def range_of(self, name: str, count: int) -> tuple[int, int]:
        """First and last (exclusive) example of this split, called ``name``, of a part of ``count`` examples.

        Raises:
            UserError: If the part is too small to give the split an example.
        """
        first, last = self.bounds(count)
        if first >= last:
            mend = "use split=train or a larger data set"
            raise UserError(f"split {name!r} of so few examples is empty", value=count, mend=mend)
        return first, last


def _tf_validation(count: int) -> int:
    """5,000 of 60,000, and in proportion of fewer."""
    return min(_TF_VALIDATION, count // 12)


SPLITS: Mapping[str, Split] = MappingProxyType(
    {
        "train": Split("train", False, lambda n: (0, n), "the training file"),
        "test": Split("test", False, lambda n: (0, n), "the test file (T's evaluation optimizes on it)"),
        "tf-train": Split(
            "train", False, lambda n: (_tf_validation(n), n), "the training file without tf-validation (T, code)"
        ),
        "tf-validation": Split(
            "train", False, lambda n: (0, _tf_validation(n)), "first 5,000 of the training file, at most a twelfth"
        ),
        "half-1": Split(
            "train", True, lambda n: (0, n // 2), "first half of the shuffled training file (S: meta-train)"
        ),
        "half-2": Split("train", True, lambda n: (n // 2, n), "second half of it (S: meta-evaluation)"),
    }
)


@lru_cache(maxsize=4)
def shuffled_rows(count: int) -> NDArray[np.int64]:
    """The fixed random order of ``count`` examples, int64 ``[count]``; read only.

    S shuffles with numpy's generator of seed 10, whose permutation is not promised to outlive a version of numpy. Here the
    examples are sorted by a hash of that seed and their number, which is the same everywhere: halves as random, but not S's own.
    """
    keys = np.array([derive_seed("halves", _HALVES_SEED, index) for index in range(count)])
    order = np.argsort(keys, kind="stable")
    order.setflags(write=False)
    return order
