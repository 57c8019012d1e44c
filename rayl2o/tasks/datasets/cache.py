"""The cache folder of this user on this machine. All that is in it can be made again; it may be deleted at any time."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "RAYL2O_CACHE"


def cache_folder() -> Path:
    """``$RAYL2O_CACHE``, else ``rayl2o`` in the cache folder of the XDG base directory specification; it need not exist.

    Raises:
        OSError: If there is neither a variable nor a home folder.
    """
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).expanduser().absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if shared.is_absolute():  # the specification has relative ones ignored
        return shared / "rayl2o"
    try:
        return Path.home() / ".cache" / "rayl2o"
    except RuntimeError as error:
        raise OSError(str(error)) from error
