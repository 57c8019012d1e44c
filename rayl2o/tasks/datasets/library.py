"""Optional libraries of data sets: imported when one of their sets is named, and whatever they raise becomes one line."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rayl2o.errors import UserError


def library(module: str, extra: str, name: str) -> Any:
    """A module of an optional library.

    Args:
        module: What to import.
        extra: The extra of this package that installs it.
        name: The data set that needs it.

    Raises:
        UserError: If it is not installed or does not import.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # one that is built for another torch fails with whatever it fails with
        mend = f"pip install 'rayl2o[{extra}]'"
        raise UserError(f"a data set needs the library {module} ({error})", value=name, mend=mend) from None


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
