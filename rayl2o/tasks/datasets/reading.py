"""Reading data through other libraries: whatever they raise becomes one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rayl2o.errors import UserError


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turns what a library raises while it reads data set ``name`` into a user's mistake."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # these libraries raise whatever their back ends raise
        what = f"a data set cannot be read ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        raise UserError(
            what, value=name, mend="check its name, and that it is on this machine or can be fetched"
        ) from None
