"""The process that runs PySR: ``python -m rayl2o.symbolic.engines.pysr_process FOLDER``. Never imports torch.

What it leaves is the hall of fame that PySR writes while it searches; what PySR returns at the end is not used.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rayl2o.symbolic.engines.julia_operators import JULIA
from rayl2o.symbolic.engines.own_process import end_with_parent, limit_memory, read_job
from rayl2o.symbolic.engines.pysr_settings import keywords


def regressor(settings: Mapping[str, Any], folder: Path) -> Any:
    """The regressor of a job. Starts Julia."""
    import sympy
    from pysr import PySRRegressor

    own = [JULIA[name].name for name in settings["operators"] if JULIA[name].definition]
    functions = {name: sympy.Function(name) for name in own if re.fullmatch(r"\w+", name)}
    return PySRRegressor(**keywords(settings, str(folder)), extra_sympy_mappings=functions)


def main(folder: Path) -> None:
    """Runs the job in ``folder``."""
    end_with_parent()
    x, y, settings = read_job(folder)
    limit_memory(settings["memory_mb"])
    regressor(settings, folder).fit(x, y)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
