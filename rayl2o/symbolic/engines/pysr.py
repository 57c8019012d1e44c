"""PySR as an engine: Julia in a process of its own, never beside torch. Even a killed search leaves its hall of fame."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from rayl2o.errors import UserError
from rayl2o.rules.expression import Expression
from rayl2o.seeds import derive_seed
from rayl2o.symbolic.engines import pysr_process
from rayl2o.symbolic.engines.base import Budget, Data, Pmap
from rayl2o.symbolic.engines.hall_of_fame import numbered, read_hall_of_fame
from rayl2o.symbolic.engines.own_process import Ended, run, write_job
from rayl2o.symbolic.engines.pysr_settings import RUN, Settings

_JULIA_ENVIRONMENT = ("PYTHON_JULIACALL_EXE", "PYTHON_JULIAPKG_EXE")
_OWN_JULIA = ("julia_env", "pyjuliapkg", "install", "bin", "julia")
_PATIENCE = 2.0
_GRACE_S = 60.0


def julia() -> str | None:
    """Path of the Julia that PySR would use, or None. Looks only; nothing is imported, started or installed.

    In this order: the variables that name one, ``julia`` or ``juliaup`` on the path, the one installed into this environment.
    """
    named = [os.environ[name] for name in _JULIA_ENVIRONMENT if os.environ.get(name)]
    for candidate in (*named, "julia", "juliaup", str(Path(sys.prefix).joinpath(*_OWN_JULIA))):
        if found := shutil.which(candidate):
            return found
    return None


def available() -> bool:
    """Whether PySR and a Julia are here."""
    return importlib.util.find_spec("pysr") is not None and julia() is not None


@dataclass(frozen=True)
class PySR(Settings):
    """See :class:`Settings`. Equal arguments give equal formulas in mode ``serial`` unless the seconds of the budget end it."""

    name: ClassVar[str] = "pysr"

    def fit(self, train: Data, val: Data, budget: Budget, seed: int, pmap: Pmap = map) -> Sequence[Expression]:
        """PySR's hall of fame (see :class:`Engine`). ``max_complexity`` is PySR's largest size, 7 at least.

        Raises:
            UserError: If PySR or Julia is missing, or the search gave nothing.
        """
        del val, pmap  # scored by the caller; one process, whose threads are Julia's
        _require()
        search_s = budget.cpu_s / self.threads
        settings: dict[str, object] = {
            **asdict(self),
            "max_complexity": budget.max_complexity,
            "search_s": search_s,
            "seed": derive_seed("pysr", seed) % 2**31,
        }
        environment = {"PYTHON_JULIACALL_THREADS": str(self.threads), "PYTHON_JULIACALL_HANDLE_SIGNALS": "yes"}
        with tempfile.TemporaryDirectory(prefix="rayl2o-pysr-") as name:
            folder = Path(name)
            write_job(folder, train.x, train.y, settings)
            limit_s = self.start_s + _PATIENCE * search_s + _GRACE_S
            ended = run(("-m", pysr_process.__name__, str(folder)), folder, limit_s, environment)
            return _found(folder, train.names, budget.max_complexity, ended)


def _require() -> None:
    if importlib.util.find_spec("pysr") is None:
        raise UserError("the package pysr is not installed", value="pysr", mend="run: pip install pysr")
    if julia() is None:
        raise UserError(
            "the engine pysr needs Julia, and none is found",
            value=f"PATH={os.environ.get('PATH', '')}",
            mend="install Julia from https://julialang.org/install (or set PYTHON_JULIAPKG_EXE), "
            "then run `python -c 'import pysr'` once; or use another engine",
        )


def _found(folder: Path, names: Sequence[str], max_complexity: int, ended: Ended) -> list[Expression]:
    """What a search had written when it ended, however it ended."""
    try:
        hall = read_hall_of_fame(folder / RUN / "hall_of_fame.csv", numbered(names))
    except UserError as error:
        what = "pysr found nothing in its time" if ended.timed_out else f"pysr ended with status {ended.code}"
        raise UserError(
            what, value=ended.last, mend="give it more seconds, start_s or memory_mb, or use another engine"
        ) from error
    formulas = {row.expression: None for row in hall.rows if row.expression.complexity <= max_complexity}
    if not formulas:
        reason = hall.skipped[0].reason if hall.skipped else "an empty hall of fame"
        raise UserError("pysr found no formula that we can use", value=reason, mend="give it more seconds or nodes")
    return sorted(formulas, key=lambda expression: expression.complexity)
