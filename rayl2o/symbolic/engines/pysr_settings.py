"""Settings of a PySR search and the keywords they become. Imports nothing that imports torch.

The paper's settings are presets (``presets/pysr-paper-*.yaml``), searched with the paper's operators: ``>``, cube and log|x| of
its scripts are not in our table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rayl2o.errors import UserError, unknown_name
from rayl2o.symbolic.engines.julia_operators import JULIA, PAPER_OPERATORS

MODES = ("serial", "threads")
SMALLEST_MAXSIZE = 7
_TOURNAMENT = 15
RUN = "run"
"""PySR writes ``FOLDER/run/hall_of_fame.csv``."""


@dataclass(frozen=True)
class Settings:
    """A search by PySR (numbers default to PySR 2.7's own).

    Attributes:
        iterations: What bounds a search that must be repeatable; a budget of seconds ends it earlier.
        populations: Islands.
        population_size: Formulas on each.
        cycles: PySR's ``ncycles_per_iteration``.
        parsimony: Penalty on complexity.
        operators: Of our table, by our names.
        mode: ``serial`` is deterministic; ``threads`` is faster and is not.
        threads: Of Julia, for ``threads``; the CPU seconds are shared among them.
        start_s: Wall seconds that Julia may take to start and compile (minutes the first time).
        memory_mb: Cap of the process, in megabytes; 0 for none.

    Raises:
        UserError: If a setting is out of range or unknown.
    """

    iterations: int = 100
    populations: int = 31
    population_size: int = 27
    cycles: int = 380
    parsimony: float = 0.0
    operators: tuple[str, ...] = PAPER_OPERATORS
    mode: str = "serial"
    threads: int = 1
    start_s: float = 900.0
    memory_mb: int = 8000

    def __post_init__(self) -> None:
        for setting, least in (("iterations", 1), ("populations", 1), ("population_size", _TOURNAMENT + 1),
                               ("cycles", 1), ("threads", 1), ("memory_mb", 0)):  # fmt: skip
            value = getattr(self, setting)
            if type(value) is not int or value < least:
                raise UserError(f"bad {setting} of pysr", value=value, mend=f"use a whole number from {least}")
        if not 0.0 <= self.parsimony < float("inf"):
            raise UserError("bad parsimony of pysr", value=self.parsimony, mend="use 0 or a small positive number")
        if not 0.0 < self.start_s < float("inf"):
            raise UserError("bad start_s of pysr", value=self.start_s, mend="use 900")
        if self.mode not in MODES:
            raise unknown_name("mode of pysr", self.mode, MODES)
        if self.mode == "serial" and self.threads != 1:
            raise UserError("a serial search has one thread", value=self.threads, mend="set mode to threads")
        for operator in self.operators:
            if operator not in JULIA:
                raise unknown_name("operator", operator, JULIA)
        if not self.operators:
            raise UserError("pysr needs an operator", value=self.operators, mend="use + and *")


def keywords(settings: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Keywords of ``PySRRegressor`` but the sympy names of our functions, which the process adds.

    Args:
        settings: Fields of :class:`Settings`, and ``seed``, ``max_complexity`` and ``search_s`` (wall seconds).
        folder: Where PySR may write.
    """
    operators = [JULIA[name] for name in settings["operators"]]
    serial = settings["mode"] == "serial"
    return {
        "binary_operators": [each.definition or each.name for each in operators if each.arity == 2],
        "unary_operators": [each.definition or each.name for each in operators if each.arity == 1],
        "niterations": settings["iterations"],
        "populations": settings["populations"],
        "population_size": settings["population_size"],
        "ncycles_per_iteration": settings["cycles"],
        "parsimony": settings["parsimony"],
        "tournament_selection_n": _TOURNAMENT,
        "maxsize": max(SMALLEST_MAXSIZE, settings["max_complexity"]),
        "timeout_in_seconds": settings["search_s"],
        "parallelism": "serial" if serial else "multithreading",
        "deterministic": serial,
        "random_state": settings["seed"] if serial else None,  # with threads a seed would promise what it cannot keep
        "batching": False,
        "precision": 64,
        "model_selection": "accuracy",
        "progress": False,
        "verbosity": 0,
        "input_stream": "devnull",
        "output_directory": folder,
        "run_id": RUN,
    }
