"""The data folder: where a user's files of public data sets lie, and what to type where they do not."""

from __future__ import annotations

import os
from pathlib import Path

from rayl2o.errors import UserError

DATA_VARIABLE = "RAYL2O_DATA"


def command(name: str) -> str:
    """What a user types to get a data set, for messages."""
    return f"'rayl2o data prepare {name}'"


def again(name: str) -> str:
    """The mend of a damaged file."""
    return f"{command(name)} fetches it again"


def data_root(name: str) -> Path:
    """The folder that ``$RAYL2O_DATA`` names; it need not exist.

    Raises:
        UserError: If the variable is not set.
    """
    root = os.environ.get(DATA_VARIABLE)
    if not root:
        mend = f"set it to a folder, which {command(name)} then fills, or use data=digits"
        raise UserError(f"data set {name!r} is read from ${DATA_VARIABLE}, which is not set", value=root, mend=mend)
    return Path(root).expanduser().absolute()


def data_folder(name: str, folder: str) -> Path:
    """The existing folder ``$RAYL2O_DATA/folder`` of a data set.

    Raises:
        UserError: If the variable is not set or the folder does not exist.
    """
    path = data_root(name) / folder
    if not path.is_dir():
        mend = f"{command(name)} fetches it; or point ${DATA_VARIABLE} at the folder that holds {folder}/, or use data=digits"
        raise UserError(f"data folder of {name!r} does not exist", value=str(path), mend=mend)
    return path.resolve()
