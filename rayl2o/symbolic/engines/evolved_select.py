"""Which members may leave the engine: sound when stretched, steady over folds, better on validation than all simpler ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayl2o.rules.expression import Expression
from rayl2o.symbolic.engines.base import Data, Floats
from rayl2o.symbolic.engines.evolved_member import Member
from rayl2o.symbolic.engines.evolved_values import Columns, columns_of, values
from rayl2o.symbolic.engines.head import fold_errors
from rayl2o.symbolic.engines.polish import rounded

FAR, NEAR = 3.0, 1.5
"""Factors by which inputs are stretched: far out the bulk of the answers must stay sane, a little way out every one of them."""
_FAR_GROWTH = 100.0  # of the 95th percentile: a cube has 27, exp of a unit normal about 30
_NEAR_GROWTH = 1000.0  # of the maximum: a cube has 3.4, exp of a value of 10 about 150
_LARGEST_TERM = 30.0  # standard deviations of y in one term of a sum: more is cancellation
_COLLAPSE = 1.3
_FASTER, _EARNED = 5.0, 0.05  # a member that grows so much faster when stretched must take this share off the error
_WORSE = 1.1  # times the error of the simpler member on any part of the validation rows
_STEP = 1e-3  # share of the error that a larger member must take off
_EXACT = 1e-9
_ROUNDING_ROWS = 1000


@dataclass(frozen=True)
class Judge:
    """The rows that decide.

    Attributes:
        train, val: Columns; ``y``, ``val_y`` the targets.
        near, far: Columns of both together, stretched.
        folds, val_parts: bool ``[R]`` each, of training and of validation rows, no group split.
        max_complexity: Nodes of the largest formula.
    """

    train: Columns
    y: Floats
    val: Columns
    val_y: Floats
    near: Columns
    far: Columns
    folds: Sequence[NDArray[np.bool_]]
    val_parts: Sequence[NDArray[np.bool_]]
    max_complexity: int

    @classmethod
    def of(cls, train: Data, val: Data, max_complexity: int, seed: int, folds: int = 3, repeats: int = 3) -> Judge:
        """Folds drawn ``repeats`` times from ``seed``."""
        both = Data(train.names, np.concatenate((train.x, val.x)), np.concatenate((train.y, val.y)))
        return cls(
            train=columns_of(train),
            y=train.y,
            val=columns_of(val),
            val_y=val.y,
            near=columns_of(both, NEAR),
            far=columns_of(both, FAR),
            folds=draw_folds(train, folds, repeats, seed),
            val_parts=draw_folds(val, folds, 1, seed),
            max_complexity=max_complexity,
        )

    def front(self, members: Iterable[Member]) -> list[Expression]:
        """What passes, from simple to complex."""
        written = [(member, member.expression()) for member in dict.fromkeys(members)]
        sized = [(m, e, self._val_left(e)) for m, e in written if e is not None and e.complexity <= self.max_complexity]
        sized.sort(key=lambda item: (item[1].complexity, float(item[2].mean())))
        kept: list[Expression] = []
        best = self.val_y**2
        steady, fastest = np.full(len(self.folds), np.inf), FAR * float(np.abs(self.y).max(initial=0.0))
        floor = _EXACT * float(best.mean())
        for member, expression, left in sized:
            if not (left.mean() < best.mean() * (1 - _STEP) - floor and self._nowhere_worse(left, best)):
                continue
            growth = self.growth(member, expression)
            if growth > _FASTER * fastest and left.mean() > (1 - _EARNED) * best.mean():
                continue
            if not np.isfinite(growth):
                continue
            parts = fold_errors(member.columns(self.train), self.y, self.folds)
            if self._steady(parts, steady):
                kept.append(rounded(expression, self._some_rows()))
                best, steady, fastest = left, parts, max(fastest, growth)
        return kept

    def growth(self, member: Member, expression: Expression) -> float:
        """The largest answer on the far stretched inputs; infinite if the member is unsound.

        Unsound: an answer that is not finite, huge terms that cancel, or an explosion on stretched inputs.
        """
        parts = member.columns(self.train) * np.array(member.weights)
        if not np.isfinite(parts).all() or parts.std(axis=0).max(initial=0.0) > _LARGEST_TERM * max(
            self.y.std(), 1e-12
        ):
            return float("inf")
        near, far = (np.abs(values(expression.root, columns)) for columns in (self.near, self.far))
        if not (np.isfinite(near).all() and np.isfinite(far).all()):
            return float("inf")
        size = np.abs(self.y)
        usual = max(float(np.percentile(size, 95)), 0.1 * float(size.std()), 1e-12)
        sane = np.percentile(far, 95) <= _FAR_GROWTH * usual and near.max() <= _NEAR_GROWTH * size.max(initial=0.0)
        return float(far.max()) if sane else float("inf")

    def _steady(self, parts: Floats, before: Floats) -> bool:
        """Better than the simpler member on average over folds, and no collapse on any; so too where there are no folds."""
        slack = _EXACT * float(np.mean(self.y**2))
        if not np.isfinite(parts).all():
            return False
        if not len(before) or np.isinf(before).any():
            return True
        return bool(parts.mean() <= before.mean() + slack and (parts <= _COLLAPSE * before + slack).all())

    def _nowhere_worse(self, left: Floats, before: Floats) -> bool:
        slack = _EXACT * float(np.mean(self.val_y**2))
        return all(left[part].mean() <= _WORSE * before[part].mean() + slack for part in self.val_parts)

    def _val_left(self, expression: Expression) -> Floats:
        """Squared errors on the validation rows, ``[R]``; infinite where not finite."""
        left = (values(expression.root, self.val) - self.val_y) ** 2
        return np.where(np.isfinite(left), left, np.inf)

    def _some_rows(self) -> list[tuple[Columns, Floats]]:
        step, val_step = (max(1, len(y) // _ROUNDING_ROWS) for y in (self.y, self.val_y))
        return [
            ({o: x[::step] for o, x in self.train.items()}, self.y[::step]),
            ({o: x[::val_step] for o, x in self.val.items()}, self.val_y[::val_step]),
        ]


def draw_folds(data: Data, folds: int, repeats: int, seed: int) -> list[NDArray[np.bool_]]:
    """``folds`` parts of the rows, drawn ``repeats`` times; a group is never split. Fewer where there are fewer groups."""
    draws = np.random.default_rng(seed)
    rows = np.arange(len(data.y)) if data.group is None else data.group
    names, place = np.unique(rows, return_inverse=True)
    count = min(folds, len(names))
    if count < 2:
        return []
    parts = [draws.permutation(len(names)) % count for _ in range(repeats)]
    return [part[place] == k for part in parts for k in range(count)]
