"""The one exception for a user's mistake: what is wrong, the value that is wrong, and the mend. Imports nothing of ours."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

_VALUE_LIMIT = 160


class UserError(ValueError):
    """Bad input (config, data, checkpoint, formula, trajectory). The command line prints it as one line and exits with 2.

    Args:
        what: What is wrong, as a short clause.
        value: The offending value; printed shortened.
        mend: What the user can do about it.
    """

    def __init__(self, what: str, *, value: object, mend: str) -> None:
        self.what, self.value, self.mend = what, value, mend
        super().__init__(" ".join(f"{what}: got {shorten(value)}; {mend}".split()))

    def __reduce__(self) -> tuple[Callable[..., UserError], tuple[str, str, str]]:
        """Lets the error cross a process: the value arrives as the text that is shown of it."""
        return _rebuild, (self.what, shorten(self.value), self.mend)


class _Shown:
    """Stands for a value that was shown in another process."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _rebuild(what: str, shown: str, mend: str) -> UserError:
    return UserError(what, value=_Shown(shown), mend=mend)


def shorten(value: object) -> str:
    """The ``repr`` of a value, cut so that an error stays one readable line."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # a list nested too deep, an integer of too many digits
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= _VALUE_LIMIT else f"{text[:_VALUE_LIMIT]}... ({len(text)} characters)"


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """An error for a name that does not exist, with the near miss if there is one."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    mend = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
    return UserError(f"unknown {kind}", value=name, mend=mend)
