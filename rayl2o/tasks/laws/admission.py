"""Whether a plugin may be used: its class is tried by the laws once per process, when the first family of it is made."""

from __future__ import annotations

from rayl2o.errors import UserError
from rayl2o.tasks.base import TaskFamily
from rayl2o.tasks.laws.case import Case, Resolve
from rayl2o.tasks.laws.check import check
from rayl2o.tasks.laws.law import Breach

SECONDS = 3.0
"""No law is begun later than this. A slow family is tried by fewer laws, in their order; its own tests should try all."""

_TRIED: dict[type, Breach | None] = {}


def first_breach(made: TaskFamily, resolve: Resolve) -> Breach | None:
    """The first law that a plugin's class breaks. Asked again in this process, it says the same without a trial.

    The class is tried with its default settings, so that settings which make trouble on purpose (a task that raises, or
    sleeps) can be used; where it has none, or they cannot be built here, with those of ``made``. Above
    ``case.LARGE`` coordinates only laws that evaluate nothing are tried, and the next family made is tried again.

    Args:
        made: The family that is wanted.
        resolve: Finds the family of a spec.

    Raises:
        UserError: If neither can be built, e.g. because data are missing: that of ``made``.
    """
    factory = type(made)
    if factory not in _TRIED:
        family = _defaults(factory, resolve) or made
        large = _is_large(Case(family, resolve))
        found = check(family, resolve, evaluate=not large, seconds=SECONDS)
        if large and not found:
            return None
        _TRIED[factory] = found[0] if found else None
    return _TRIED[factory]


def _defaults(factory: type, resolve: Resolve) -> TaskFamily | None:
    """The class with its default settings, if it has them, they are not large, and instances can be built."""
    try:
        family: TaskFamily = factory()
        case = Case(family, resolve)
        if _is_large(case):
            return None
        _ = case.tasks
    except Exception:  # data that are missing, a setting without default: the family that is wanted decides
        return None
    return family


def _is_large(case: Case) -> bool:
    try:
        return case.large
    except UserError:
        raise
    except Exception:  # a breach, which the trial will name
        return False
