"""Optional libraries: imported where they are needed; one that is missing or broken is one line that says what installs it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rayl2o.errors import UserError


def import_optional(module: str, extra: str, purpose: str) -> Any:
    """A module of a library that an extra of this package installs.

    Args:
        module: Its full name.
        extra: The extra's name.
        purpose: What needs it, for the message.

    Raises:
        UserError: If it is not installed or does not import.
    """
    try:
        return import_module(module)
    except Exception as error:  # one that is built for another torch fails with whatever it fails with
        what = f"{purpose} needs a library that cannot be imported ({error})"
        raise UserError(what, value=module, mend=f"pip install 'rayl2o[{extra}]'") from None
