"""Asks an engine, and takes nothing that it does amiss for our own mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.symbolic.engines.base import Budget, Data, Engine, Pmap

T = TypeVar("T")


def ask(engine: Engine, train: Data, val: Data, budget: Budget, seed: int, pmap: Pmap = map) -> list[object]:
    """What the engine says, unchecked.

    Raises:
        UserError: Whatever it throws, so that a run can go on without it.
    """
    try:
        return list(engine.fit(train, val, budget, seed, pmap))
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"engine {engine.name!r} failed ({type(error).__name__}: {error})", value=seed, mend="try another engine"
        ) from error


def understood(answers: list[object], read: Callable[[Expression], T]) -> tuple[list[T], list[str]]:
    """Answers that are formulas, as ``read`` makes them; of the others (or where ``read`` refuses) a sentence each."""
    kept, dropped = [], []
    for answer in answers:
        try:
            if not isinstance(answer, Expression):
                raise UserError("an engine's answer is no formula", value=type(answer).__name__, mend="drop it")
            kept.append(read(answer))
        except UserError as error:
            dropped.append(str(error))
    return kept, dropped
